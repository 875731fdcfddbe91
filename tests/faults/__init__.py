"""The fault harness: is it true that no verdict is lost?

    plain.py      the harness's own MQTT client
    truth.py      its own numbered triggers, sent until the station answers
    witness.py    what an independent subscriber hears, and what `lineside.subscriber` brings back
    counting.py   pure: what was accepted against what was heard; what is a violation
    proxy.py      a TCP proxy that resets and stalls
    plant.py      broker, proxies, disk, cameras and the agent in processes of their own
    engineer.py   who asks for other models
    chaos.py      a schedule of faults from one seed, and what each of them does
    cameras.py    verdicts against the virtual line's own log
    ear.py        what an independent subscriber hears of cameras, and when
    spells.py     pure: when a camera's fault began, was named, was over; what is too late
    scenes.py     what the cameras see: belts on real pictures
    trial.py      triggered results under a schedule
    frames.py     untriggered results under kills
    limit.py      results that the limit on disk use forces out
    lenses.py     each fault of a camera, many times
    healthy.py    an hour of cameras that have none
    runner.py     the real agent with a wrong outbox or a faked clock: the negative controls
    unsynced.py   a file layer that loses what was not synced
    controls.py   those that must be found wrong
    report.py     a run as markdown
    ending.py     how the long forms end
    long.py       `make faults-results`
    cameras_long.py  `make faults-cameras`

The truth is never `seq`: it is the harness's own numbers, which come back as `trigger.id`.
"""
