# Judges rich rules with python3-firewall's own parser: one JSON string a line in, one JSON object a line out,
# {"canonical": text} or {"code": name}. Runs as a program of its own; nothing of ours is linked with it.
import json
import sys

from firewall.core.rich import Rich_Rule
from firewall.errors import FirewallError

for line in sys.stdin:
    try:
        answer = {"canonical": str(Rich_Rule(rule_str=json.loads(line)))}
    except FirewallError as error:
        answer = {"code": str(error).split(":")[0]}
    except Exception as error:  # what its daemon answers as UNKNOWN_ERROR
        answer = {"code": "UNKNOWN_ERROR", "detail": type(error).__name__}
    sys.stdout.write(json.dumps(answer) + "\n")
