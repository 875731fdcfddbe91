"""Fitting: images and labels in, a trained network out.

examples.py    images and labels, and what a network says of them
draws.py       which images make a batch, and how each is changed: NumPy, from the seed alone
changes.py     changing them: inside the compiled step, or beside it
trainee.py     what Keras compiles: changes, network, loss, optimizer
teaching.py    a larger network to learn from
epochs.py      what happens after each epoch: val, the best weights, a checkpoint, the end
progress.py    how far a training is
checkpoint.py  the state of a training on disk, so that it can go on after anything
machines.py    who shares a training: one machine, unless it was asked for more
probe.py       the last layer alone, in closed form: where fine-tuning starts
fit.py         all of it, in order
"""
