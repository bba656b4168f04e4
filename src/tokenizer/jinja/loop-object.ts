import { type Callable, Namespace, orElse, Undefined, type Value } from "./values.js";

/** The variable `loop` in the body of a for loop. */
export function loopObject(items: readonly Value[], index: number, changed: Callable): Namespace {
  const beyond = (which: string): Undefined => new Undefined(`there is no ${which} item`);
  return new Namespace(
    new Map<string, Value>([
      ["index", index + 1],
      ["index0", index],
      ["revindex", items.length - index],
      ["revindex0", items.length - index - 1],
      ["first", index === 0],
      ["last", index === items.length - 1],
      ["length", items.length],
      ["previtem", index > 0 ? items[index - 1]! : beyond("previous")],
      ["nextitem", index + 1 < items.length ? items[index + 1]! : beyond("next")],
      ["depth", 1],
      ["depth0", 0],
      ["cycle", (args) => orElse(args[index % args.length], () => beyond("cycle"))],
      ["changed", changed],
    ]),
  );
}
