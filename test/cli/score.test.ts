/** `score`: order, ids and numbers, against lm-evaluation-harness. */
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { describeWithGoldens, sharedPath } from "../golden/shared.js";
import { runCli } from "./run-cli.js";
import { seededModel, temporaryFolder } from "./seeded.js";

const linesOf = (text: string) =>
  text
    .trim()
    .split("\n")
    .map((line) => JSON.parse(line));

describe("score", () => {
  const folder = temporaryFolder();

  it("answers in the order of the lines, whatever their ids, over several windows", async () => {
    const requests = Array.from({ length: 600 }, (_, i) => ({
      id: `r${(i * 7) % 600}`,
      contextIds: [1 + (i % 5), 2, 3],
      continuationIds: [4 + (i % 3)],
    }));
    const { code, stdout } = await runCli(["score", seededModel(), "--requests", "-", "--quiet"], {
      stdin: requests.map((request) => JSON.stringify(request)).join("\n"),
    });
    expect(code).toBe(0);
    const answers = linesOf(stdout);
    expect(answers.map(({ id }) => id)).toEqual(requests.map(({ id }) => id));
    expect(answers.map(({ tokenIds }) => tokenIds)).toEqual(requests.map(({ continuationIds }) => continuationIds));
    // The same request in another window has the same bits.
    expect(answers[15].logprob).toBe(answers[585].logprob);
  });

  it("takes text and ids, blank lines, CRLF and a last line without a line feed; --out gets the answers", async () => {
    const out = join(folder, "answers.jsonl");
    const file = join(folder, "requests.jsonl");
    writeFileSync(
      file,
      '{"id": 1, "context": "2 + 2 =", "continuation": " 4"}\r\n\n{"contextIds": [5, 6], "continuationIds": [7, 8]}',
    );
    const { code, stdout, stderr } = await runCli(["score", seededModel(), "--requests", file, "--out", out]);
    expect({ code, stdout }).toEqual({ code: 0, stdout: "" });
    expect(stderr).toContain(`2 requests scored, answers in ${out}`);
    const answers = linesOf(readFileSync(out, "utf8"));
    expect(answers.map(({ id }) => id)).toEqual([1, null]);
    for (const { logprob, tokenLogprobs } of answers) {
      expect(logprob).toBeCloseTo(
        tokenLogprobs.reduce((sum: number, value: number) => sum + value, 0),
        5,
      );
    }
  });

  it("scores a conversation as context", async () => {
    const line = { id: 1, context: [{ role: "user", content: "hi" }], continuation: "yes" };
    const { code, stdout } = await runCli(["score", seededModel(), "--requests", "-"], { stdin: JSON.stringify(line) });
    expect(code).toBe(0);
    expect(Number.isFinite(linesOf(stdout)[0].logprob)).toBe(true);
  });

  it("gives the answers before a bad line and names that line", async () => {
    const good = '{"id": 1, "contextIds": [1], "continuationIds": [2]}';
    const { code, stdout, stderr } = await runCli(["score", seededModel(), "--requests", "-", "--quiet"], {
      stdin: `${good}\n${good}\n{"id": 3}\n${good}\n`,
    });
    expect(code).toBe(2);
    expect(linesOf(stdout)).toHaveLength(2);
    expect(stderr).toContain("in line 3 of -");
  });
});

describeWithGoldens(
  "score on lm-evaluation-harness's requests",
  ["golden/lm_eval/requests_tiny.jsonl", "golden/models"],
  () => {
    interface Golden {
      context: string;
      continuation: string;
      loglikelihood: number;
      is_greedy: boolean;
      error?: string;
      max_length: number;
      context_ids: number[];
      continuation_ids: number[];
    }
    const rows = linesOf(readFileSync(sharedPath("golden/lm_eval/requests_tiny.jsonl"), "utf8")) as Golden[];
    // The harness reads special tokens in text; here text stays text, and ids or messages say what is special.
    const usable = rows.filter(({ error, max_length }) => error === undefined && max_length === 512);
    const plain = usable.filter(({ context, continuation }) => !/<\|/.test(context + continuation));

    it.each([
      ["text", plain, ({ context, continuation }: Golden) => ({ context, continuation })],
      [
        "ids",
        usable,
        ({ context_ids, continuation_ids }: Golden) => ({ contextIds: context_ids, continuationIds: continuation_ids }),
      ],
    ])("agrees within 1e-3 a token, from %s", async (_form, goldens, requestOf) => {
      expect(goldens.length).toBeGreaterThan(40);
      const { code, stdout, stderr } = await runCli(
        ["score", sharedPath("golden/models/qwen2moe-e8k2"), "--requests", "-", "--truncate"],
        { stdin: goldens.map((golden, id) => JSON.stringify({ id, ...requestOf(golden) })).join("\n") },
      );
      expect({ code, stderr }).toEqual({ code: 0, stderr: "" });
      for (const [index, answer] of linesOf(stdout).entries()) {
        const { loglikelihood, is_greedy, continuation_ids } = goldens[index]!;
        expect(answer.tokenIds).toEqual(continuation_ids);
        expect(Math.abs(answer.logprob - loglikelihood)).toBeLessThanOrEqual(1e-3 * answer.tokenIds.length);
        expect(answer.isGreedy).toBe(is_greedy);
      }
    });
  },
);
