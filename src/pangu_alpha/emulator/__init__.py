"""Executing the programs of all ranks on CPUs: operators, what ranks ask of each other, and a step of them all."""
