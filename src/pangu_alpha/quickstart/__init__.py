"""The quickstart: from nothing to a network that writes, each stage a few `pangu` commands."""
