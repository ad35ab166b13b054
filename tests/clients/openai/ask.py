"""Asks an OpenAI-compatible service one thing with the stock SDK, and prints as JSON what came of it.

Usage: OPENAI_API_KEY=… ask.py BASE_URL HOST
"""

import json
import sys

import openai

client = openai.OpenAI(base_url=sys.argv[1], default_headers={"Host": sys.argv[2]}, max_retries=0, timeout=20)
try:
    completion = client.chat.completions.create(model="echo", messages=[{"role": "user", "content": "hello"}])
    told = {"content": completion.choices[0].message.content}
except openai.APIStatusError as error:
    told = {
        "exception": type(error).__name__,
        "status": error.status_code,
        "code": error.code,
        "type": error.type,
        "body": error.body,
        "retry_after": error.response.headers.get("retry-after"),
    }
json.dump(told, sys.stdout)
