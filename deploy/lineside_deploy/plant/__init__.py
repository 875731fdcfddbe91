"""A plant's broker: who may connect, as whom, and what each may say and hear.

authority.py   keys, certificates and the revocation list: pure, from bytes to bytes
names.py       what a station and a user are called in their certificates
broker.py      mosquitto.conf, its ACL and its unit: pure, from settings to texts
plant.py       the folder that holds all of it, and what was issued to whom
running.py     the broker that runs: it reads its files again, or starts anew
identity.py    a station's key, made on the device; its certificate, brought there
command.py     `lineside deploy broker`, `station` and `user`
"""
