"""Fitting: images and labels in, a trained network out.

draws.py       which images make a batch, and how each is changed: NumPy, from the seed alone
changes.py     the layer that changes them, inside the compiled step
trainee.py     what Keras compiles: changes, network, loss, optimizer
epochs.py      what happens after each epoch: val, the best weights, a checkpoint, the end
checkpoint.py  the state of a training on disk, so that it can go on after anything
probe.py       the last layer alone, in closed form: where fine-tuning starts
fit.py         all of it, in order
"""
