"""The programs that MindSpore compiles for Ascend ranks, made and executed on CPUs."""
