import { Arguments } from "./arguments.js";
import type { BinaryNode, CallNode, MemberNode, Node } from "./ast.js";
import { applyFilter } from "./filters.js";
import { attribute, subscript } from "./members.js";
import { binary, signed, slice } from "./operators.js";
import type { Scope } from "./scope.js";
import { testNamed } from "./tests.js";
import { Text } from "./text.js";
import { Dict, Float, isTrue, iterate, JinjaError, Tuple, typeName, Undefined, type Value } from "./values.js";

const CONSTANTS: ReadonlyMap<string, Value> = new Map<string, Value>([
  ["true", true],
  ["True", true],
  ["false", false],
  ["False", false],
  ["none", null],
  ["None", null],
]);
const COMPARISONS: ReadonlySet<string> = new Set(["==", "!=", "<", ">", "<=", ">=", "in", "not in"]);

/** The value of an expression. */
export function evaluate(node: Node, scope: Scope): Value {
  switch (node.type) {
    case "IntegerLiteral":
      return node.value;
    case "FloatLiteral":
      return new Float(node.value);
    case "StringLiteral":
      return Text.of(node.value);
    case "ArrayLiteral":
      return node.value.map((item) => evaluate(item, scope));
    case "TupleLiteral":
      return new Tuple(node.value.map((item) => evaluate(item, scope)));
    case "ObjectLiteral":
      return Dict.fromEntries(
        [...node.value].map(([key, value]) => [evaluate(key, scope), evaluate(value, scope)] as const),
      );
    case "Identifier":
      return CONSTANTS.has(node.value) ? CONSTANTS.get(node.value)! : scope.get(node.value);
    case "MemberExpression":
      return member(node, scope);
    case "CallExpression":
      return call(node, scope);
    case "UnaryExpression":
      return node.operator.value === "not"
        ? !isTrue(evaluate(node.argument, scope))
        : signed(node.operator.value, evaluate(node.argument, scope));
    case "BinaryExpression":
      return operation(node, scope);
    case "FilterExpression":
      return filtered(node.filter, evaluate(node.operand, scope), scope);
    case "SelectExpression":
      return isTrue(evaluate(node.test, scope))
        ? evaluate(node.lhs, scope)
        : new Undefined("the inline if-expression evaluated to false and no else section was defined.");
    case "Ternary":
      return evaluate(isTrue(evaluate(node.condition, scope)) ? node.trueExpr : node.falseExpr, scope);
    default:
      throw new SyntaxError(`${node.type} is not an expression`);
  }
}

function member(node: MemberNode, scope: Scope): Value {
  const object = evaluate(node.object, scope);
  const { property } = node;
  if (property.type === "SliceExpression") {
    const bound = (part: Node | undefined): Value => (part === undefined ? null : evaluate(part, scope));
    return slice(object, bound(property.start), bound(property.stop), bound(property.step));
  }
  if (!node.computed && property.type === "Identifier") return attribute(object, property.value);
  return subscript(object, evaluate(property, scope));
}

/** What a call's parentheses hold. */
export function readArguments(nodes: readonly Node[], scope: Scope): { args: Value[]; kwargs: Map<string, Value> } {
  const args: Value[] = [];
  const kwargs = new Map<string, Value>();
  for (const node of nodes) {
    if (node.type === "KeywordArgumentExpression") kwargs.set(node.key.value, evaluate(node.value, scope));
    else if (node.type === "SpreadExpression") args.push(...iterate(evaluate(node.argument, scope)));
    else if (node.type === "KeywordSpreadExpression") {
      const named = evaluate(node.argument, scope);
      if (!(named instanceof Dict))
        throw new JinjaError("TypeError", `argument after ** must be a mapping, not ${typeName(named)}`);
      for (const [key, value] of named.items()) kwargs.set(String(key), value);
    } else args.push(evaluate(node, scope));
  }
  return { args, kwargs };
}

function call(node: CallNode, scope: Scope): Value {
  const { args, kwargs } = readArguments(node.args, scope);
  // The two forms that rewrite.ts writes as calls.
  if (node.callee.type === "Identifier" && node.callee.value === "__tuple") return new Tuple(args);
  if (node.callee.type === "Identifier" && node.callee.value === "__group") return args[0]!;
  const callee = evaluate(node.callee, scope);
  if (callee instanceof Undefined) callee.raise();
  if (typeof callee !== "function") throw new JinjaError("TypeError", `'${typeName(callee)}' object is not callable`);
  return callee(args, kwargs);
}

/** A value through the filter that a node names; a test where rewrite.ts wrote it as one. */
export function filtered(node: Node, value: Value, scope: Scope): Value {
  const name = node.type === "CallExpression" ? node.callee : node;
  if (name.type !== "Identifier") throw new SyntaxError("Expected the name of a filter");
  const { args, kwargs } = readArguments(node.type === "CallExpression" ? node.args : [], scope);
  const test = /^__is(not)?_(.*)$/.exec(name.value);
  if (test === null) return applyFilter(name.value, value, new Arguments(args, kwargs));
  return testNamed(test[2]!)(value, args) !== (test[1] === "not");
}

function operation(node: BinaryNode, scope: Scope): Value {
  const operator = node.operator.value;
  if (operator === "and" || operator === "or") {
    const left = evaluate(node.left, scope);
    return isTrue(left) === (operator === "and") ? evaluate(node.right, scope) : left;
  }
  if (COMPARISONS.has(operator)) return comparisonChain(node, scope).result;
  return binary(operator, evaluate(node.left, scope), evaluate(node.right, scope));
}

/** `a < b < c` means `a < b and b < c`; a comparison in parentheses is a value like any other. */
function comparisonChain(node: BinaryNode, scope: Scope): { result: Value; last: Value } {
  const { left, right } = node;
  if (left.type === "BinaryExpression" && COMPARISONS.has(left.operator.value)) {
    const before = comparisonChain(left, scope);
    if (!isTrue(before.result)) return before;
    const last = evaluate(right, scope);
    return { result: binary(node.operator.value, before.last, last), last };
  }
  const first = evaluate(left, scope);
  const last = evaluate(right, scope);
  return { result: binary(node.operator.value, first, last), last };
}
