/**
 * The two Python programs of a run. The worker holds what the model wrote and calls its function when asked; the checker holds the
 * tests and asks. Arguments and results travel as JSON of plain values, so nothing of the program's making reaches the checker: a
 * result with its own `__eq__` arrives as the plain value below it, or as an object that equals nothing.
 *
 * Descriptors: 3 is the line between the two, carried by the harness; 4, of the checker alone, takes the verdict.
 */

const COMMON = String.raw`
import collections, collections.abc, decimal, fractions, itertools, json, numbers, os, sys
try:
    import resource
except ImportError:
    resource = None

def restrict(limits):
    # A limit that this system does not have is left out; a sandbox is tried for its limits before it is used.
    for name, value in limits.items() if resource else ():
        try:
            kind = getattr(resource, name)
            hard = resource.getrlimit(kind)[1]
            value = value if hard == resource.RLIM_INFINITY else min(value, hard)
            resource.setrlimit(kind, (value, value))
        except (AttributeError, OSError, ValueError):
            pass

SEQUENCES = {"list": list, "tuple": tuple, "set": set, "frozenset": frozenset, "deque": collections.deque}
MOST_ITEMS = 100000

def encode(x):
    if x is None or isinstance(x, bool) or type(x) is float or type(x) is str:
        return x
    if isinstance(x, numbers.Integral):
        return int(x) if -2**63 <= x < 2**63 else ["int", hex(int(x))]
    if isinstance(x, str):
        return str.__str__(x)
    for name, kind in SEQUENCES.items():
        if isinstance(x, kind):
            return [name, [encode(item) for item in x]]
    if isinstance(x, dict):
        return ["dict", [[encode(key), encode(value)] for key, value in x.items()]]
    if isinstance(x, (bytes, bytearray)):
        return ["bytes", bytes(x).hex()]
    if isinstance(x, range):
        return ["range", [encode(x.start), encode(x.stop), encode(x.step)]]
    if isinstance(x, complex):
        return ["complex", [x.real, x.imag]]
    if isinstance(x, decimal.Decimal):
        return ["decimal", str(x)]
    if isinstance(x, fractions.Fraction):
        return ["fraction", [encode(x.numerator), encode(x.denominator)]]
    if isinstance(x, numbers.Real):
        return float(x)
    if isinstance(x, collections.abc.KeysView):
        return ["keys", [encode(key) for key in x]]
    if isinstance(x, (collections.abc.Iterator, collections.abc.ValuesView, collections.abc.ItemsView)):
        return ["iterator", [encode(item) for item in itertools.islice(x, MOST_ITEMS)]]
    return ["object", type(x).__name__]

class Other:
    pass

def decode(x):
    if not isinstance(x, list):
        return x
    kind, content = x
    if kind in SEQUENCES:
        return SEQUENCES[kind](decode(item) for item in content)
    if kind == "int":
        return int(content, 16)
    if kind == "dict":
        return {decode(key): decode(value) for key, value in content}
    if kind == "bytes":
        return bytes.fromhex(content)
    if kind == "range":
        return range(*map(decode, content))
    if kind == "complex":
        return complex(*content)
    if kind == "decimal":
        return decimal.Decimal(content)
    if kind == "fraction":
        return fractions.Fraction(*map(decode, content))
    if kind == "keys":
        return dict.fromkeys(map(decode, content)).keys()
    if kind == "iterator":
        return iter([decode(item) for item in content])
    return Other()

# In WebAssembly the harness's descriptors have names.
LINE, VERDICTS = ("/line/3", "/line/4") if sys.platform == "wasi" else (3, 4)

def of_harness(descriptor, mode):
    return open(descriptor, mode, closefd=isinstance(descriptor, str))

incoming = of_harness(LINE, "rb")
outgoing = of_harness(LINE, "wb")

def send(message, to=outgoing):
    to.write(json.dumps(message).encode() + b"\n")
    to.flush()

def name_of(error):
    return type(error).__name__
`;

/** Its first line on 3 says that it is up; then it reads its job there, and after that calls. */
export const WORKER: string = `${COMMON}
def answer(message):
    # What was printed before an answer has been read when the answer has.
    try:
        sys.stdout.flush()
    except BaseException:
        pass
    send(message)

os.set_inheritable(outgoing.fileno(), False)
send({"ready": True})
job = json.loads(incoming.readline())
restrict(job["limits"])
namespace = {}
try:
    exec(compile(job["source"], "<program>", "exec"), namespace)
    function = namespace[job["entryPoint"]]
except BaseException as error:
    answer({"raised": name_of(error)})
else:
    answer({"ready": True})
    for line in incoming:
        try:
            arguments, keywords = json.loads(line)
            result = {"value": encode(function(*decode(arguments), **decode(keywords)))}
        except BaseException as error:
            result = {"raised": name_of(error)}
        answer(result)
`;

/** It reads its job on 0, says on 4 that it is up, and at last the verdict with the nonce of its job. */
export const CHECKER: string = `${COMMON}
import builtins, random

verdicts = of_harness(VERDICTS, "wb")
job = json.loads(sys.stdin.buffer.readline())
restrict(job["limits"])

class ProgramError(Exception):
    pass

class Ended(ProgramError):
    pass

def reply():
    line = incoming.readline()
    if not line:
        raise Ended()
    return json.loads(line)

raised = None

def refuse(name):
    global raised
    raised = name if isinstance(name, str) and name.isidentifier() and len(name) <= 100 else "Exception"
    kind = getattr(builtins, raised, None)
    if isinstance(kind, type) and issubclass(kind, Exception):
        try:
            error = kind()
        except TypeError:
            error = ProgramError()
        raise error
    raise ProgramError()

def candidate(*arguments, **keywords):
    global raised
    raised = None
    send([encode(arguments), encode(keywords)])
    answer = reply()
    if "raised" in answer:
        refuse(answer["raised"])
    return decode(answer["value"])

def say(verdict, reason=""):
    send({"nonce": job["nonce"], "verdict": verdict, "reason": reason}, verdicts)

try:
    prelude = compile(job["prelude"], "<prelude>", "exec")
except SyntaxError:
    prelude = compile(job["prelude"] + "    pass\\n", "<prelude>", "exec")
tests = compile(job["tests"], "<tests>", "exec")
namespace = {}
exec(prelude, namespace)
namespace[job["entryPoint"]] = candidate
random.seed(0)
send({"ready": True}, verdicts)
try:
    first = reply()
    if "raised" in first:
        refuse(first["raised"])
    exec(tests, namespace)
except Ended:
    say("failed", "the program ended before its tests did")
except BaseException as error:
    reason = raised or name_of(error)
    say("memory" if reason == "MemoryError" else "failed", reason)
else:
    say("passed")
`;
