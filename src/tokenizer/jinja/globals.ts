import { Template } from "@huggingface/jinja";
import { Arguments } from "./arguments.js";
import { str } from "./print.js";
import { Text } from "./text.js";
import { Dict, isTrue, iterate, JinjaError, Namespace, typeName, type Value, View } from "./values.js";

/** Raised by `raise_exception(...)`: the template's own refusal, in its own words. */
export class RaisedByTemplate extends JinjaError {
  constructor(message: string) {
    super("TemplateError", message);
  }
}

/** The functions that jinja2 and transformers give to every template. */
export function globalFunctions(): Map<string, Value> {
  return new Map<string, Value>([
    ["range", range],
    ["dict", (args, kwargs) => Dict.fromEntries(fieldEntries(args, kwargs))],
    [
      "namespace",
      (args, kwargs) => new Namespace(new Map(fieldEntries(args, kwargs).map(([k, v]) => [str(k).value, v]))),
    ],
    ["cycler", cycler],
    ["joiner", joiner],
    [
      "raise_exception",
      (args, kwargs) => {
        throw new RaisedByTemplate(str(new Arguments(args, kwargs).get(0, "message", Text.EMPTY)).value);
      },
    ],
    ["strftime_now", ([format = null]) => str(format).map(now)],
  ]);
}

function now(format: string): string {
  return new Template("{{ strftime_now(format) }}").render({ format });
}

/** The longest range that a template may ask for, as in jinja2's sandbox. */
const MAX_RANGE = 100_000;

function range(args: Value[]): Value {
  const numbers = args.map((value) => {
    if (typeof value === "number") return value;
    throw new JinjaError("TypeError", `'${typeName(value)}' object cannot be interpreted as an integer`);
  });
  const [start, stop, step] =
    numbers.length < 2 ? [0, numbers[0] ?? 0, 1] : [numbers[0]!, numbers[1]!, numbers[2] ?? 1];
  if (step === 0) throw new JinjaError("ValueError", "range() arg 3 must not be zero");
  const length = Math.max(Math.ceil((stop - start) / step), 0);
  if (length > MAX_RANGE) throw new JinjaError("SecurityError", `Range too big. The maximum size is ${MAX_RANGE}.`);
  const label = Text.of(`range(${start}, ${stop}${step === 1 ? "" : `, ${step}`})`);
  return new View(
    Array.from({ length }, (_, i) => start + i * step),
    () => label,
  );
}

function fieldEntries(args: Value[], kwargs: Map<string, Value>): [Value, Value][] {
  const [source] = args;
  // Names may come from data (`dict(**message)`), so they count as data.
  const named = [...kwargs].map(([name, value]): [Value, Value] => [Text.fromData(name), value]);
  if (source === undefined) return named;
  if (source instanceof Dict) return [...source.items(), ...named];
  const pairs = iterate(source).map((pair): [Value, Value] => {
    const items = iterate(pair);
    if (items.length !== 2)
      throw new JinjaError(
        "ValueError",
        `dictionary update sequence element has length ${items.length}; 2 is required`,
      );
    return [items[0]!, items[1]!];
  });
  return [...pairs, ...named];
}

function cycler(items: Value[]): Value {
  let position = 0;
  const state = new Namespace(new Map());
  const update = (): void => void state.fields.set("current", items[position]!);
  state.fields.set("next", () => {
    const current = items[position]!;
    position = (position + 1) % items.length;
    update();
    return current;
  });
  state.fields.set("reset", () => {
    position = 0;
    update();
    return null;
  });
  update();
  return state;
}

function joiner(args: Value[], kwargs: Map<string, Value>): Value {
  const separator = str(new Arguments(args, kwargs).get(0, "sep", Text.of(", ")));
  let used = false;
  return () => {
    if (isTrue(used)) return separator;
    used = true;
    return Text.EMPTY;
  };
}
