"""Compiling any rank's program for Ascend on this machine, and keeping it: stand-ins for CANN, processes, versions."""
