/**
 * Callbacks at hook points through the whole library. What they change is compared with declared interventions that do the same, and with
 * the float64 oracle where nothing declared does; what they must not change, bit by bit.
 */
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { InvalidArgumentError } from "../../src/errors.js";
import { bias, type HookCallback, type HookPlace, Model, mask, on } from "../../src/index.js";
import { LAYER_HOOKS, MODEL_HOOKS } from "../../src/router/interventions.js";
import { seededModel } from "../cli/seeded.js";
import { loadOracle } from "../reference/oracle.js";

const IDS = Int32Array.from({ length: 40 }, (_, i) => (i * 37 + 11) % 250);

describe("callbacks", () => {
  let folder: string;
  let model: Model;

  beforeAll(async () => {
    folder = seededModel();
    model = await Model.load(folder, { threads: 2 });
  });
  afterAll(() => model.dispose());

  const logitsOf = async (variant: Model, trace: "counts" | "logits" = "counts") =>
    variant.forward(IDS, { logits: "all", trace });

  it("change no bit by watching, at every hook, now or later", async () => {
    const { logits } = await logitsOf(model);
    for (const hook of [...LAYER_HOOKS, ...MODEL_HOOKS]) {
      const isInLayer = LAYER_HOOKS.includes(hook);
      const layers = isInLayer ? { layers: [1] } : {};
      const answers: HookCallback[] = [
        () => undefined,
        (values) => values,
        async (values) => {
          await new Promise((resolve) => setTimeout(resolve, 1));
          return values;
        },
      ];
      for (const answer of answers) {
        const seen: HookPlace[] = [];
        const probe = on(hook, layers, (values, where) => {
          expect(values).toHaveLength(where.positions.length * where.width);
          seen.push(where);
          return answer(values, where);
        });
        expect((await logitsOf(model.with(probe))).logits).toEqual(logits);
        const rows = seen.reduce((sum, { positions }) => sum + positions.length, 0);
        expect(rows).toBe(hook === "expert.output" ? 40 * model.config.numExpertsPerToken : 40);
        expect(seen.every((place) => place.hook === hook && place.layer === (isInLayer ? 1 : undefined))).toBe(true);
        expect(seen.every(({ tokenIds, positions }) => tokenIds.every((id, row) => id === IDS[positions[row]!]))).toBe(
          true,
        );
      }
    }
  });

  it("do to router logits what bias and mask do", async () => {
    const { numExperts } = model.config;
    const add: HookCallback = (values) => {
      for (let at = 2; at < values.length; at += numExperts) values[at]! += 1.5;
      return values;
    };
    const takeOut: HookCallback = (values) => {
      for (let at = 0; at < values.length; at += numExperts) values[at] = Number.NEGATIVE_INFINITY;
      return values;
    };
    const scope = { layers: [1, 2], positions: [5, 30] as [number, number] };
    const probed = await logitsOf(model.with([on("router.logits", scope, add)]), "logits");
    const declared = await logitsOf(model.with(bias({ ...scope, bias: { 2: 1.5 } })), "logits");
    expect(probed.logits).toEqual(declared.logits);
    expect(probed.trace!.columns).toEqual(declared.trace!.columns);
    const masked = await logitsOf(model.with(on("router.logits", { layers: [3] }, takeOut)));
    expect(masked.logits).toEqual((await logitsOf(model.with(mask({ layers: [3], experts: [0] })))).logits);
  });

  it("change what the oracle changes in the residual stream", async () => {
    const oracle = loadOracle(folder);
    const half: HookCallback = (values) => values.map((value) => value * 0.5);
    for (const hook of ["residual.before", "residual.after"] as const) {
      const { logits } = await logitsOf(model.with(on(hook, { layers: [2], positions: [10, 20] }, half)));
      const expected = oracle(IDS, {
        editResidual: (at, layer, position, row) =>
          at === hook && layer === 2 && position >= 10 && position < 20 ? row.map((value) => value * 0.5) : row,
      }).logits.flatMap((row) => [...row]);
      const scale = Math.sqrt(expected.reduce((sum, value) => sum + value * value, 0) / expected.length);
      const error = logits.reduce((worst, value, i) => Math.max(worst, Math.abs(value - expected[i]!)), 0);
      expect(error <= 1e-4 * scale).toBe(true);
    }
  });

  it("fail their own request alone", async () => {
    const prompt = IDS.subarray(0, 20);
    const options = { maxTokens: 12, temperature: 0 };
    const alone = await model.generate(prompt, options);
    let calls = 0;
    const fault = new TypeError("not today");
    const faulty = model.with(
      on("moe.output", { layers: [1] }, () => {
        calls++;
        if (calls > 5) throw fault;
        return undefined;
      }),
    );
    const failing = faulty.generate(prompt, options);
    const others = [model.generate(prompt, options), model.generate(IDS, options)];
    await expect(failing).rejects.toBe(fault);
    expect((await others[0])!.tokenIds).toEqual(alone.tokenIds);
    expect((await others[0])!.logprobs).toEqual(alone.logprobs);
    await others[1];
    const rejected = Promise.reject(fault);
    rejected.catch(() => {});
    await expect(logitsOf(model.with(on("moe.output", { layers: [1] }, () => rejected)))).rejects.toBe(fault);
    expect((await logitsOf(model)).logits.every(Number.isFinite)).toBe(true);
  });

  it.each([
    [
      "too few numbers",
      () => new Float32Array(3),
      /Expected a Float32Array of \d+ x \d+ numbers, or nothing, .*moe.output, got one of 3/,
    ],
    [
      "another type",
      (values: Float32Array) => Array.from(values) as never,
      /from the callback at moe.output, got something else/,
    ],
    [
      "NaN",
      (values: Float32Array) => values.fill(Number.NaN),
      /finite numbers from the callback at moe.output of layer 1, got -?nan for position 0/,
    ],
  ])("refuse %s in one sentence", async (_, callback, message) => {
    const call = logitsOf(model.with(on("moe.output", { layers: [1] }, callback)));
    await expect(call).rejects.toThrow(message);
    await expect(call).rejects.toMatchObject({ code: "INVALID_ARGUMENT" });
  });

  it("cannot wait for the model that waits for them", async () => {
    const nested = on("residual.after", { layers: [0] }, async () => {
      await model.forward(IDS);
      return undefined;
    });
    await expect(logitsOf(model.with(nested))).rejects.toThrow(InvalidArgumentError);
  });

  it("end with the signal, also while they wait for ever", async () => {
    const never = on("residual.after", { layers: [0] }, () => new Promise<undefined>(() => {}));
    const signal = AbortSignal.timeout(100);
    await expect(model.with(never).forward(IDS, { signal })).rejects.toMatchObject({ code: "ABORTED" });
    expect((await logitsOf(model)).logits.every(Number.isFinite)).toBe(true);
  });

  it("share kept prefixes only under a name, and never with the plain model", async () => {
    const counting = (name: object) => {
      const seen: number[] = [];
      const probe = on("residual.before", { layers: [0], ...name }, (_, { positions }) => {
        seen.push(...positions);
        return undefined;
      });
      return { seen, variant: model.with(probe) };
    };
    const options = { maxTokens: 1, temperature: 0 };
    const unnamed = counting({});
    await unnamed.variant.generate(IDS, options);
    await unnamed.variant.generate(IDS, options);
    expect(unnamed.seen).toHaveLength(80);
    const named = counting({ id: "probe", version: "1" });
    await model.generate(IDS, options);
    await named.variant.generate(IDS, options);
    await named.variant.generate(IDS, options);
    expect(named.seen.length).toBeGreaterThanOrEqual(41);
    expect(named.seen.length).toBeLessThan(80);
  });

  it("act on the origin and segment that they name", async () => {
    const seen: number[] = [];
    const probe = on("router.input", { layers: [0], origin: "generated" }, (_, { positions, origins, segments }) => {
      expect([...origins]).toEqual(positions.length === 0 ? [] : [1]);
      expect([...segments]).toEqual([3]);
      seen.push(...positions);
      return undefined;
    });
    const { tokenIds } = await model
      .with(probe)
      .generate(IDS.subarray(0, 9), { maxTokens: 5, temperature: 0, stop: [] });
    expect(seen).toEqual(Array.from({ length: tokenIds.length - 1 }, (_, i) => 9 + i));
  });
});
