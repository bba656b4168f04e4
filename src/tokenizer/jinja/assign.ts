import type { Node } from "./ast.js";
import { evaluate, filtered } from "./expressions.js";
import type { Scope } from "./scope.js";
import { iterate, JinjaError, Namespace, type Value } from "./values.js";

/** Binds `value` to what stands on the left of an assignment or between `for` and `in`: a name, a namespace's field, or several. */
export function assign(target: Node, value: Value, scope: Scope): void {
  if (target.type === "Identifier") scope.set(target.value, value);
  else if (target.type === "FilterExpression") assign(target.operand, filtered(target.filter, value, scope), scope);
  else if (target.type === "MemberExpression" && target.property.type === "Identifier") {
    const owner = evaluate(target.object, scope);
    if (!(owner instanceof Namespace))
      throw new JinjaError("TemplateError", "cannot assign attribute on non-namespace object");
    owner.fields.set(target.property.value, value);
  } else {
    const names = targetsOf(target);
    if (names === undefined) throw new SyntaxError(`can't assign to ${target.type}`);
    const items = iterate(value);
    if (items.length !== names.length) {
      const what =
        items.length < names.length
          ? `not enough values to unpack (expected ${names.length}, got ${items.length})`
          : `too many values to unpack (expected ${names.length})`;
      throw new JinjaError("ValueError", what);
    }
    for (const [index, name] of names.entries()) assign(name, items[index]!, scope);
  }
}

/** The names that `a, b` or `(a, b)` stand for on the left of an assignment. */
function targetsOf(target: Node): Node[] | undefined {
  if (target.type === "TupleLiteral") return target.value;
  const isTuple =
    target.type === "CallExpression" && target.callee.type === "Identifier" && target.callee.value === "__tuple";
  return isTuple ? target.args : undefined;
}
