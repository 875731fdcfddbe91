"""TFLite files themselves: what is in them, what they say of themselves, whether they can be used.

graph      a file's operators and tensors
naming     short names for operators
metadata   labels and normalization in the standard TFLite metadata
examine    a file that nobody here made, tried in a child process
"""
