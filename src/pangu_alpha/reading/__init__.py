"""The one way in which this project reads what a person or another program has written: files, JSON, YAML, numbers.

What is wrong is a ValueError (the contents) or an OSError (the file), whose words the caller puts behind the name of
what it was reading.
"""

from pangu_alpha.reading.files import list_folder, open_file, read_bytes, read_text
from pangu_alpha.reading.numbers import number_in, whole_number
from pangu_alpha.reading.strict_json import parse_json, read_json

__all__ = [
    "list_folder",
    "number_in",
    "open_file",
    "parse_json",
    "read_bytes",
    "read_json",
    "read_text",
    "whole_number",
]
