/** The rules of DESIGN.md and CONTRIBUTING.md that a machine can hold; each is also shown a file that breaks it. */

import { spawnSync } from "node:child_process";
import { existsSync, readdirSync } from "node:fs";
import path from "node:path";
import { describe, expect, it } from "vitest";
import { importsOf, importViolations } from "./architecture/import-rule.js";
import {
  errorCodesOf,
  includeViolations,
  membersOf,
  nativeErrorCodesOf,
  nativeExportsOf,
  weakSymbols,
} from "./architecture/native-rules.js";
import { PROJECT, readSources, type Source } from "./architecture/source.js";
import {
  LINES_ALLOWED,
  LINES_WANTED,
  LONG_FILES,
  numLines,
  sizeViolations,
  topLevelViolations,
  wordViolations,
} from "./architecture/text-rules.js";

const library = readSources(["src", "evals"], [".ts"]);
const native = readSources(["native"], [".cpp", ".h", ".cu", ".cuh"]);
const tests = readSources(["test"], [".ts"]);
const scripts = readSources(["scripts"], [".mjs"]);

const sourceAt = (sources: readonly Source[], at: string): Source => {
  const source = sources.find((candidate) => candidate.path === at);
  if (source === undefined) throw new Error(`${at} is not there`);
  return source;
};

describe("import rule", () => {
  it("holds in src and evals", () => {
    expect(library.length).toBeGreaterThan(10);
    expect(importViolations(library)).toEqual([]);
  });

  it.each([
    ["analysis imports the model", "src/analysis/load.ts", 'import { Model } from "../model/model.js";'],
    ["a type alone counts", "src/analysis/load.ts", 'import type { Model } from "../model/model.js";'],
    ["a type in an expression counts", "src/eval/run.ts", 'export type M = import("../model/model.js").Model;'],
    ["a dynamic import counts", "src/router/trace.ts", 'export const f = () => import("../eval/run.js");'],
    ["an export from counts", "src/errors.ts", 'export * from "./native/binding.js";'],
    ["a require counts", "src/native/addon.ts", 'const x = require("../checkpoint/gguf.js");'],
    ["eval reaches for the checkpoint", "src/eval/run.ts", 'import { x } from "../checkpoint/gguf.js";'],
    ["plot takes a trace", "src/plot/heatmap.ts", 'import { x } from "../router/schema.js";'],
    ["the library imports the command line", "src/index.ts", 'import { x } from "./cli/main.js";'],
    ["a benchmark goes past the public entry", "evals/mmlu.ts", 'import { x } from "../src/eval/task.js";'],
    ["a module imports from the public entry that exports it", "src/eval/run.ts", 'import { x } from "moescope";'],
    ["a file outside all layers", "src/helpers.ts", ""],
    ["a folder outside all layers", "src/common/x.ts", ""],
    ["an import of the tests", "src/model/model.ts", 'import { x } from "../../test/golden/shared.js";'],
  ])("refuses: %s", (_what, file, text) => {
    expect(importViolations([{ path: file, text }])).toHaveLength(1);
  });

  it.each([
    [
      "cli on everything",
      "src/cli/eval.ts",
      'import { x } from "../checkpoint/gguf.js"; import "../../evals/index.js";',
    ],
    [
      "a benchmark on the public entry",
      "evals/mmlu.ts",
      'import { x } from "moescope"; import { y } from "./prompt.js";',
    ],
    ["packages and Node", "src/errors.ts", 'import { z } from "zod"; import fs from "node:fs";'],
    [
      "words in comments and strings",
      "src/errors.ts",
      '// import "../model/model.js"\nconst s = \'import "./cli/main.js"\';',
    ],
  ])("allows: %s", (_what, file, text) => {
    expect(importViolations([{ path: file, text }])).toEqual([]);
  });

  it("counts every import of a file", () => {
    const text =
      'import "a";\nimport b from "b";\nexport { c } from "c";\nexport * from "d";\nimport e = require("e");';
    expect(importsOf({ path: "src/x.ts", text }).map(({ specifier, line }) => `${specifier}${line}`)).toEqual([
      "a1",
      "b2",
      "c3",
      "d4",
      "e5",
    ]);
  });
});

describe("include rule", () => {
  it("holds in native", () => {
    expect(native.length).toBeGreaterThan(10);
    expect(includeViolations(native)).toEqual([]);
  });

  it.each([
    ["core on a backend", "native/core/forward.cpp", '#include "cpu/backend.h"'],
    ["core on JavaScript", "native/core/error.h", "#include <napi.h>"],
    ["a backend on the other", "native/cpu/route.cpp", '#include "cuda/route.h"'],
    ["a backend on the addon", "native/cpu/route.cpp", '#include "addon/convert.h"'],
    ["CUDA outside cuda", "native/core/backend.h", "#include <cuda_runtime.h>"],
    ["intrinsics outside arch", "native/cpu/matmul.cpp", "#include <immintrin.h>"],
    ["a path that climbs", "native/cpu/route.cpp", '#include "../core/router.h"'],
    ["a folder outside all layers", "native/common/x.h", ""],
  ])("refuses: %s", (_what, file, text) => {
    expect(includeViolations([{ path: file, text }])).toHaveLength(1);
  });

  it("allows what the design says", () => {
    const good = [
      {
        path: "native/addon/model_wrap.cpp",
        text: '#include <napi.h>\n#include "core/session.h"\n#include "addon/convert.h"',
      },
      { path: "native/cpu/arch/kernels_avx2.cpp", text: '#include <immintrin.h>\n#include "core/half.h"' },
      { path: "native/test/route_test.cpp", text: '#include "check.h"\n#include "cpu/backend.h"' },
    ];
    expect(includeViolations(good)).toEqual([]);
  });
});

describe("boundary", () => {
  const binding = sourceAt(library, "src/native/binding.ts");
  const addon = native.filter((source) => source.path.startsWith("native/addon/"));

  it("has every native error code in src/errors.ts", () => {
    const ours = errorCodesOf(sourceAt(library, "src/errors.ts"));
    const theirs = nativeErrorCodesOf(sourceAt(native, "native/core/error.h"));
    expect(theirs.length).toBeGreaterThan(5);
    expect(theirs.filter((code) => !ours.includes(code))).toEqual([]);
  });

  it("sees a native error code that TypeScript lacks", () => {
    const errors = { path: "src/errors.ts", text: 'export type ErrorCode = "A" | "B";' };
    const header = { path: "native/core/error.h", text: 'case X: return "C_D";' };
    expect(errorCodesOf(errors)).toEqual(["A", "B"]);
    expect(nativeErrorCodesOf(header)).toEqual(["C_D"]);
  });

  it.each(["NativeAddon", "NativeModel", "NativeSession", "CancelFlag"])(
    "exports exactly the members of %s",
    (name) => {
      expect(nativeExportsOf(addon).get(name)).toEqual(membersOf(binding, name));
    },
  );

  it("sees names on one side alone", () => {
    const text =
      'exports.Set("a", x); DefineClass(env, "C", {InstanceMethod<&C::b>("b"), InstanceMethod<&C::d>("c")}); f("z");';
    const exported = nativeExportsOf([{ path: "native/addon/x.cpp", text }]);
    expect([...exported]).toEqual([
      ["NativeAddon", ["a"]],
      ["C", ["b", "c"]],
    ]);
    expect(membersOf({ path: "x.ts", text: "interface C { b(): void; readonly e: number }" }, "C")).toEqual(["b", "e"]);
  });
});

describe("instruction-set variants", () => {
  const objects = path.join(PROJECT, "native/build/CMakeFiles/moescope_core.dir/cpu/arch");
  const list = (file: string) => spawnSync("nm", ["-C", file], { encoding: "utf8" });

  // A weak symbol (an inline function, a template) that was compiled for AVX-512 may be the copy that the linker keeps for all.
  it("lend no code to files that run on every machine", (context) => {
    if (!existsSync(objects)) context.skip("native/build holds no objects: run `npm run build` first");
    if (list("--version").error !== undefined) context.skip("nm (binutils) is not installed");
    const variants = readdirSync(objects).filter((name) => /_(avx2|avx512|neon)\.cpp\.o$/.test(name));
    expect(variants.length).toBeGreaterThan(0);
    const lent = variants.flatMap((name) =>
      weakSymbols(list(path.join(objects, name)).stdout).map((symbol) => `${name}: ${symbol}`),
    );
    expect(lent).toEqual([]);
  });

  it("are found out by a weak symbol", () => {
    const listing = "0000 T kernels()\n0000 W std::vector<float>::push_back(float&&)\n     U memcpy\n0000 t local";
    expect(weakSymbols(listing)).toEqual(["std::vector<float>::push_back(float&&)"]);
  });
});

describe("files", () => {
  const all = [...library, ...native, ...tests, ...scripts];

  it(`are at most ${LINES_ALLOWED} lines long, or on the list with a reason`, () => {
    for (const source of all.filter((source) => numLines(source) > LINES_WANTED)) {
      console.warn(`${source.path}: ${numLines(source)} lines, about ${LINES_WANTED} are wanted`);
    }
    expect(sizeViolations(all, LONG_FILES)).toEqual([]);
    expect(Object.values(LONG_FILES).every((reason) => reason.length > 10)).toBe(true);
  });

  it("are seen when too long, and when on the list without need", () => {
    const long = { path: "src/giant.ts", text: "x\n".repeat(LINES_ALLOWED + 1) };
    const short = { path: "src/short.ts", text: "x\n".repeat(LINES_ALLOWED) };
    expect(sizeViolations([long, short], {})).toHaveLength(1);
    expect(sizeViolations([long, short], { "src/giant.ts": "a table that is read, not code" })).toEqual([]);
    expect(sizeViolations([short], { "src/short.ts": "no need" })).toHaveLength(1);
  });

  it("say the words of the glossary", () => {
    expect(
      wordViolations([...library, ...native, ...tests.filter(({ path }) => !path.includes("architecture"))]),
    ).toEqual([]);
  });

  it("are found out by a word that the glossary replaces", () => {
    const script = { path: "src/x.ts", text: "const nEmbd = 1; // dModel\nconst s = 'kvMul'; config.n_embd;" };
    const cpp = { path: "native/core/x.cpp", text: 'int kv_mul = 1;  // d_model\nconst char* s = "n_embd";' };
    expect(wordViolations([script, cpp])).toEqual([
      "src/x.ts: say hiddenSize, not nEmbd",
      "native/core/x.cpp: say num_attention_heads / num_key_value_heads, not kv_mul",
    ]);
  });

  it("do nothing when imported: no await and no state at the top level", () => {
    expect(topLevelViolations(library)).toEqual([]);
  });

  it.each([
    "const x = await load();",
    "for await (const x of y) z(x);",
    "if (a) { await b(); }",
    "let counter = 0;",
    "export var cache = new Map();",
  ])("are found out by: %s", (text) => {
    expect(topLevelViolations([{ path: "src/x.ts", text }])).toHaveLength(1);
  });

  it("may await and keep state inside functions", () => {
    const text =
      "const f = async () => { let x = await g(); for await (const y of x) h(y); };\nclass A { async m() { await f(); } }";
    expect(topLevelViolations([{ path: "src/x.ts", text }])).toEqual([]);
  });
});

describe("skips", () => {
  it("stand in test/SKIPS.md, unless they wait for the goldens", () => {
    const listed = readSources(["test"], ["SKIPS.md"])[0]!.text;
    const skipping = tests.filter(
      ({ text }) =>
        /\b(it|test|describe|context)\.(skip|skipIf|runIf)\(/.test(text) &&
        !/\b(missingShared|skipReason|MISSING)\b/.test(text),
    );
    expect(skipping.map((source) => source.path).filter((path) => !listed.includes(path))).toEqual([]);
  });
});
