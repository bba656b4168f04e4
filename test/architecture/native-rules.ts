/** Rules of the native side: who includes whom, and that both sides of the boundary name the same things. */

import ts from "typescript";
import type { Source } from "./source.js";

/** Folders of native/ whose headers a folder may include. The backends meet the core through core/backend.h. */
const MAY_INCLUDE: Readonly<Record<string, readonly string[]>> = {
  core: ["core"],
  cpu: ["cpu", "core"],
  cuda: ["cuda", "core"],
  addon: ["addon", "core"],
  test: ["test", "core", "cpu", "cuda", "addon"],
};

/** System headers that belong into one place only. */
const KEPT_TO: readonly { header: RegExp; folder: RegExp; say: string }[] = [
  { header: /^(napi|node_api|js_native_api|v8|uv)\b/, folder: /^native\/addon\//, say: "native/addon" },
  { header: /^(cuda|cublas|nv|mma)/, folder: /^native\/(cuda|test)\//, say: "native/cuda" },
  { header: /(intrin|arm_neon)\.h$/, folder: /^native\/(cpu\/arch|test)\//, say: "native/cpu/arch" },
];

/** One sentence for each include that crosses a border of native/. */
export function includeViolations(sources: readonly Source[]): string[] {
  const found: string[] = [];
  for (const source of sources) {
    const folder = source.path.split("/")[1]!;
    const allowed = MAY_INCLUDE[folder];
    if (allowed === undefined) {
      found.push(`${source.path}: native/${folder} belongs to no layer of the include rule`);
      continue;
    }
    for (const [index, line] of source.text.split("\n").entries()) {
      const include = /^\s*#\s*include\s*([<"])([^>"]+)[>"]/.exec(line);
      if (include === null) continue;
      const [, kind, header] = include as unknown as [string, string, string];
      const at = `${source.path}:${index + 1}`;
      const first = header.includes("/") ? header.split("/")[0]! : folder;
      if (kind === '"' && header.includes("..")) found.push(`${at}: name ${header} from native/ on, without ".."`);
      else if (kind === '"' && first in MAY_INCLUDE && !allowed.includes(first)) {
        found.push(`${at}: native/${folder} may not include ${header}`);
      }
      const kept = KEPT_TO.find((rule) => rule.header.test(header) && !rule.folder.test(source.path));
      if (kind === "<" && kept !== undefined) found.push(`${at}: ${header} is kept to ${kept.say}`);
    }
  }
  return found;
}

/** Members of the union type `ErrorCode` in src/errors.ts. */
export function errorCodesOf(errors: Source): string[] {
  const tree = ts.createSourceFile(errors.path, errors.text, ts.ScriptTarget.ES2022, true);
  const alias = tree.statements.find(
    (node): node is ts.TypeAliasDeclaration => ts.isTypeAliasDeclaration(node) && node.name.text === "ErrorCode",
  );
  if (alias === undefined || !ts.isUnionTypeNode(alias.type)) throw new Error(`${errors.path} has no union ErrorCode`);
  return alias.type.types.flatMap((type) =>
    ts.isLiteralTypeNode(type) && ts.isStringLiteral(type.literal) ? [type.literal.text] : [],
  );
}

/** Codes that native/core/error.h writes, in its function code_name. */
export function nativeErrorCodesOf(header: Source): string[] {
  return [...new Set([...header.text.matchAll(/return "([A-Z_]+)";/g)].map((match) => match[1]!))].sort();
}

/** Members of an interface of src/native/binding.ts, sorted. */
export function membersOf(binding: Source, name: string): string[] {
  const tree = ts.createSourceFile(binding.path, binding.text, ts.ScriptTarget.ES2022, true);
  const declaration = tree.statements.find(
    (node): node is ts.InterfaceDeclaration => ts.isInterfaceDeclaration(node) && node.name.text === name,
  );
  if (declaration === undefined) throw new Error(`${binding.path} has no interface ${name}`);
  return declaration.members.map((member) => member.name!.getText(tree)).sort();
}

/** Names that the sources of native/addon export: "NativeAddon" for the module itself, else the class that DefineClass names. */
export function nativeExportsOf(sources: readonly Source[]): Map<string, string[]> {
  const found = new Map<string, string[]>();
  for (const { text } of sources) {
    const names = [...text.matchAll(/\bexports\.Set\(\s*"(\w+)"/g)].map((match) => match[1]!);
    if (names.length > 0) found.set("NativeAddon", [...(found.get("NativeAddon") ?? []), ...names].sort());
    for (const table of text.split(/\bDefineClass\(\s*\w+,\s*"/).slice(1)) {
      const name = /^\w+/.exec(table)![0];
      const statement = table.slice(0, table.indexOf(";"));
      const members = [...statement.matchAll(/\bInstance(?:Method|Accessor)<[^>]*>\(\s*"(\w+)"/g)];
      found.set(name, members.map((match) => match[1]!).sort());
    }
  }
  return found;
}

/** Symbols of an object file that a linker may take from it in place of another file's copy, by `nm`'s listing. */
export function weakSymbols(listing: string): string[] {
  return listing
    .split("\n")
    .map((line) => /^\S+\s+[WVu]\s+(.*)$/.exec(line)?.[1])
    .filter((symbol) => symbol !== undefined);
}
