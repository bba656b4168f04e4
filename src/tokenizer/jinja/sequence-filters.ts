import type { Arguments } from "./arguments.js";
import { lookup } from "./members.js";
import { binary } from "./operators.js";
import { str } from "./print.js";
import { testNamed } from "./tests.js";
import { Text } from "./text.js";
import {
  compare,
  Dict,
  Generator,
  isTrue,
  itemsOf,
  iterate,
  JinjaError,
  orElse,
  Tuple,
  typeName,
  Undefined,
  type Value,
} from "./values.js";

/** jinja2's filters that take a list apart or build one. */

export type Filter = (value: Value, args: Arguments) => Value;

/** `attribute="a.b.0"`, as sort, map, groupby and their like read it. */
function attributePath(path: Value): (item: Value) => Value {
  if (path === null) return (item) => item;
  const steps: Value[] =
    path instanceof Text
      ? path.split(".").map((step) => (/^\d+$/.test(step.value) ? Number(step.value) : step))
      : [path];
  return (item) => steps.reduce(lookup, item);
}

/** Strings compare without case unless asked otherwise. */
function caseRule(caseSensitive: boolean): (value: Value) => Value {
  return (value) => (value instanceof Text && !caseSensitive ? Text.of(value.value.toLowerCase()) : value);
}

function sorted(items: readonly Value[], key: (item: Value) => Value, reverse: boolean): Value[] {
  const keyed = items.map((item) => ({ item, key: key(item) }));
  // A stable sort in either direction, as Python's: equal items keep their order.
  keyed.sort((a, b) => (reverse ? compare(b.key, a.key, "<") : compare(a.key, b.key, "<")));
  return keyed.map(({ item }) => item);
}

const sort: Filter = (value, args) => {
  const fold = caseRule(isTrue(args.get(1, "case_sensitive", false)));
  const attribute = attributePath(args.get(2, "attribute", null));
  return sorted(iterate(value), (item) => fold(attribute(item)), isTrue(args.get(0, "reverse", false)));
};

const dictsort: Filter = (value, args) => {
  if (!(value instanceof Dict)) throw new JinjaError("TypeError", `dictsort expected a dict, got ${typeName(value)}`);
  const fold = caseRule(isTrue(args.get(0, "case_sensitive", false)));
  const index = str(args.get(1, "by", Text.of("key"))).value === "value" ? 1 : 0;
  const pairs = value.items().map((pair) => new Tuple(pair));
  return sorted(pairs, (pair) => fold((pair as Tuple).items[index]!), isTrue(args.get(2, "reverse", false)));
};

/** The lazy filters take anything false (None too) as an empty list. */
function walk(value: Value): readonly Value[] {
  return isTrue(value) ? iterate(value) : [];
}

/** select, reject, selectattr and rejectattr. */
function selection(keep: boolean, byAttribute: boolean): Filter {
  return (value, args) => {
    const read = byAttribute ? attributePath(args.get(0, "attribute", null)) : (item: Value) => item;
    const rest = byAttribute ? args.after(1) : args;
    const name = rest.positional[0];
    const test =
      name === undefined ? isTrue : (item: Value) => testNamed(str(name).value)(item, [...rest.positional.slice(1)]);
    return new Generator(walk(value).filter((item) => test(read(item)) === keep));
  };
}

/** `map`; `filterNamed` finds the filter that it applies. */
export function mapFilter(filterNamed: (name: string) => Filter): Filter {
  return (value, args) => {
    if (args.named.has("attribute")) {
      const read = attributePath(args.named.get("attribute")!);
      const fallback = args.named.get("default");
      const mapped = walk(value).map((item) => {
        const found = read(item);
        return found instanceof Undefined && fallback !== undefined ? fallback : found;
      });
      return new Generator(mapped);
    }
    const name = args.positional[0];
    if (name === undefined) throw new JinjaError("TypeError", "map requires a filter argument");
    const filter = filterNamed(str(name).value);
    return new Generator(walk(value).map((item) => filter(item, args.after(1))));
  };
}

function extreme(wanted: "smallest" | "largest"): Filter {
  return (value, args) => {
    const fold = caseRule(isTrue(args.get(0, "case_sensitive", false)));
    const read = attributePath(args.get(1, "attribute", null));
    const items = sorted(iterate(value), (item) => fold(read(item)), wanted === "largest");
    return orElse(items[0], () => new Undefined("No aggregated item, sequence was empty."));
  };
}

const unique: Filter = (value, args) => {
  const fold = caseRule(isTrue(args.get(0, "case_sensitive", false)));
  const read = attributePath(args.get(1, "attribute", null));
  const seen = new Dict();
  const kept = iterate(value).filter((item) => {
    const key = fold(read(item));
    if (seen.has(key)) return false;
    seen.set(key, null);
    return true;
  });
  return new Generator(kept);
};

const groupby: Filter = (value, args) => {
  const read = attributePath(args.get(0, "attribute", null));
  const fallback = args.get(1, "default", null);
  const fold = caseRule(isTrue(args.get(2, "case_sensitive", false)));
  const keyOf = (item: Value): Value => {
    const key = read(item);
    return key instanceof Undefined ? fallback : key;
  };
  const groups = new Dict();
  for (const item of sorted(iterate(value), (one) => fold(keyOf(one)), false)) {
    const key = fold(keyOf(item));
    const group = groups.get(key) as Tuple | undefined;
    if (group === undefined) groups.set(key, new Tuple([keyOf(item), [item]]));
    else (group.items[1] as Value[]).push(item);
  }
  return groups.values();
};

const join: Filter = (value, args) => {
  const separator = str(args.get(0, "d", Text.EMPTY));
  return separator.join(iterate(value).map((item) => str(attributePath(args.get(1, "attribute", null))(item))));
};

const sum: Filter = (value, args) => {
  const read = attributePath(args.get(0, "attribute", null));
  return iterate(value).reduce<Value>((total, item) => binary("+", total, read(item)), args.get(1, "start", 0));
};

const batch: Filter = (value, args) => {
  const size = args.integer(0, "linecount", 1);
  const fill = args.get(1, "fill_with", null);
  const items = iterate(value);
  const rows: Value[][] = [];
  for (let i = 0; i < items.length; i += Math.max(size, 1)) rows.push(items.slice(i, i + size));
  const last = rows.at(-1);
  while (fill !== null && last !== undefined && last.length < size) last.push(fill);
  return new Generator(rows);
};

const reverse: Filter = (value) => {
  if (value instanceof Text) return Text.concat(value.points().reverse());
  return new Generator([...iterate(value)].reverse());
};

const length: Filter = (value) => {
  const isSized = value instanceof Text || (!(value instanceof Generator) && itemsOf(value) !== undefined);
  if (!isSized) {
    throw new JinjaError("TypeError", `object of type '${typeName(value)}' has no len()`);
  }
  return value instanceof Text ? value.numPoints : iterate(value).length;
};

function end(at: 0 | -1): Filter {
  return (value) =>
    orElse(iterate(value).at(at), () => new Undefined(`No ${at === 0 ? "first" : "last"} item, sequence was empty.`));
}

const items: Filter = (value) => {
  if (value instanceof Undefined) return new Generator([]);
  if (value instanceof Dict) return new Generator(value.items().map((pair) => new Tuple(pair)));
  throw new JinjaError("TypeError", "Can only get item pairs from a mapping.");
};

export const SEQUENCE_FILTERS: Readonly<Record<string, Filter>> = {
  batch,
  count: length,
  dictsort,
  first: end(0),
  groupby,
  items,
  join,
  last: end(-1),
  length,
  list: (value) => [...iterate(value)],
  max: extreme("largest"),
  min: extreme("smallest"),
  reject: selection(false, false),
  rejectattr: selection(false, true),
  reverse,
  select: selection(true, false),
  selectattr: selection(true, true),
  sort,
  sum,
  unique,
};
