/** The tree that the parser of `@huggingface/jinja` builds, as far as the interpreter reads it. Every node says its `type`. */

export type Node =
  | { type: "Program"; body: Node[] }
  | { type: "Comment" | "Break" | "Continue" }
  | { type: "If"; test: Node; body: Node[]; alternate: Node[] }
  | ForNode
  | { type: "Set"; assignee: Node; value: Node | null; body: Node[] }
  | MacroNode
  | CallStatementNode
  | { type: "IntegerLiteral" | "FloatLiteral"; value: number }
  | { type: "StringLiteral" | "Identifier"; value: string }
  | { type: "ArrayLiteral" | "TupleLiteral"; value: Node[] }
  | { type: "ObjectLiteral"; value: Map<Node, Node> }
  | CallNode
  | MemberNode
  | { type: "UnaryExpression"; operator: { value: string }; argument: Node }
  | BinaryNode
  | { type: "FilterExpression"; operand: Node; filter: Node }
  | { type: "SelectExpression"; lhs: Node; test: Node }
  | { type: "Ternary"; condition: Node; trueExpr: Node; falseExpr: Node }
  | { type: "SliceExpression"; start?: Node; stop?: Node; step?: Node }
  | { type: "KeywordArgumentExpression"; key: { value: string }; value: Node }
  | { type: "SpreadExpression" | "KeywordSpreadExpression"; argument: Node };

export interface ForNode {
  type: "For";
  loopvar: Node;
  iterable: Node;
  body: Node[];
  defaultBlock: Node[];
}

export interface MacroNode {
  type: "Macro";
  name: { value: string };
  args: Node[];
  body: Node[];
}

export interface CallStatementNode {
  type: "CallStatement";
  call: CallNode;
  callerArgs: Node[] | null;
  body: Node[];
}

export interface CallNode {
  type: "CallExpression";
  callee: Node;
  args: Node[];
}

export interface MemberNode {
  type: "MemberExpression";
  object: Node;
  property: Node;
  computed: boolean;
}

export interface BinaryNode {
  type: "BinaryExpression";
  operator: { value: string };
  left: Node;
  right: Node;
}
