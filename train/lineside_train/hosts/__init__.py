"""One training on several machines: the same batches, each machine its slice of them.

options.py   `--hosts` and `--host-index`: who takes part
link.py      messages between processes, as JSON over sockets
facts.py     what must be the same on all of them
watch.py     the process that watches over the training, on each machine
fork.py      it and the training part ways here
together.py  what the training does together, by Keras on JAX
session.py   all of it, in order

Each machine has two processes. The one that was started knows nothing of JAX: it keeps a
connection to the first machine, and says what is the matter when one is gone, where JAX would wait
without end, or kill its process without a word that a person understands. The other one trains.
"""
