"""What the processes say to each other: messages, events, samples, names. msgspec structs and enums; no I/O."""
