"""The `pangu` command, one file a verb."""
