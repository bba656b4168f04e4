import type { Node } from "./ast.js";
import { evaluate } from "./expressions.js";
import { Scope } from "./scope.js";
import { Text } from "./text.js";
import { type Callable, Dict, JinjaError, orElse, Tuple, Undefined, type Value } from "./values.js";

/**
 * The function that a macro or a call block defines. Arguments that it has no parameter for are an error, unless its body
 * reads `varargs` or `kwargs`. `render` writes its body.
 */
export function macro(
  name: string,
  parameters: readonly Node[],
  body: readonly Node[],
  outer: Scope,
  render: (body: readonly Node[], scope: Scope) => Text,
): Callable {
  const takesMore = mentions(body, "varargs");
  const takesNamed = mentions(body, "kwargs");
  return (args, kwargs) => {
    const scope = new Scope(outer);
    scope.countStep();
    const named = new Map(kwargs);
    if (named.has("caller")) scope.set("caller", named.get("caller")!);
    named.delete("caller");
    bind(parameters, args, named, scope);
    const [extra] = named.keys();
    if (extra !== undefined && !takesNamed) {
      throw new JinjaError("TypeError", `macro '${name}' takes no keyword argument '${extra}'`);
    }
    if (args.length > parameters.length && !takesMore) {
      throw new JinjaError("TypeError", `macro '${name}' takes not more than ${parameters.length} argument(s)`);
    }
    if (takesMore) scope.set("varargs", new Tuple(args.slice(parameters.length)));
    if (takesNamed)
      scope.set("kwargs", Dict.fromEntries([...named].map(([key, value]) => [Text.fromData(key), value] as const)));
    return render(body, scope);
  };
}

/** Sets every parameter in `scope`, and takes those that were given by name out of `named`. */
function bind(parameters: readonly Node[], args: readonly Value[], named: Map<string, Value>, scope: Scope): void {
  for (const [index, parameter] of parameters.entries()) {
    const isNamed = parameter.type === "KeywordArgumentExpression";
    if (!isNamed && parameter.type !== "Identifier") throw new SyntaxError("Expected a name as parameter");
    const key = isNamed ? parameter.key.value : parameter.value;
    let value = args[index];
    if (value === undefined) {
      value = named.get(key);
      named.delete(key);
    }
    if (value === undefined && isNamed) value = evaluate(parameter.value, scope);
    scope.set(
      key,
      orElse(value, () => new Undefined(`parameter '${key}' was not provided`)),
    );
  }
}

function mentions(tree: unknown, name: string): boolean {
  if (Array.isArray(tree)) return tree.some((part) => mentions(part, name));
  if (tree instanceof Map) return [...tree].some((part) => mentions(part, name));
  if (typeof tree !== "object" || tree === null) return false;
  const node = tree as Partial<Node> & { value?: unknown };
  return (
    (node.type === "Identifier" && node.value === name) || Object.values(tree).some((part) => mentions(part, name))
  );
}
