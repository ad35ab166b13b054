"""Reads an exposition from standard input with Prometheus' own parser for Python and prints it as JSON.

    read.py text|openmetrics
"""

import json
import sys

from prometheus_client import parser
from prometheus_client.openmetrics import parser as openmetrics_parser

text = sys.stdin.read()
if sys.argv[1] == "openmetrics":
    families = openmetrics_parser.text_string_to_metric_families(text)
else:
    families = parser.text_string_to_metric_families(text)

# The parser of the text format takes `_total` off a counter's name; OpenMetrics has none there.
ending = {"counter": "_total", "info": "_info"}
found = []
for family in families:
    samples = [
        {
            "name": sample.name,
            "labels": sample.labels,
            "value": repr(float(sample.value)),
            "exemplar": sample.exemplar and sample.exemplar.labels,
        }
        for sample in family.samples
    ]
    name = family.name + ending.get(family.type, "")
    found.append({"name": name, "type": family.type, "help": family.documentation, "samples": samples})
json.dump(found, sys.stdout)
