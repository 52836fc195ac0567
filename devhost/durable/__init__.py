"""The durable engine: orchestrations, activities, timers and entities over one journal file.

`journal` is the file, `state` what the records in it mean, `walk` one replayed orchestrator against its history,
`engine` runs the work, `management` is the HTTP interface that the durable client calls.
"""
