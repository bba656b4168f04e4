/**
 * Declared changes to routing, version 1: plain JSON objects that the library, the command line, the server and a run's provenance share.
 * This page has their form; what they must not say is in `intervention-check.ts`, their native form in `route-rules.ts`.
 *
 * Order of effect per layer and token, whatever the order in the list: callback, bias, mask, top-k, selection with force, replay, zero,
 * swap. Several objects on one layer combine; their effects do not depend on their order.
 */

import { z } from "zod";
import { InvalidArgumentError, invalidArgument } from "../errors.js";
import type { NativeHookPlace } from "../native/binding.js";
import type { RecordedRoute } from "./route.js";

export const INTERVENTIONS_VERSION = 1;

/** Hook points of callbacks; those of a layer want `layers`. Order: as the forward pass meets them. */
export const LAYER_HOOKS: readonly [string, ...string[]] = [
  "residual.before",
  "router.input",
  "router.logits",
  "shared.gate",
  "expert.output",
  "shared.output",
  "moe.output",
  "residual.after",
];
export const MODEL_HOOKS: readonly [string, ...string[]] = ["final.norm", "output.logits"];

/** Where an intervention acts; absent parts: everywhere. */
export interface Scope {
  /** Token positions [start, end) of the sequence. */
  positions?: [start: number, end: number];
  /** What the token is, however it was computed. */
  origin?: "prompt" | "generated";
  /** Names of the text parts, as in the trace's `segment` column. */
  segments?: string[];
}

/** Global layer numbers, from 0; "all": every layer that has what the intervention changes. */
export type Layers = number[] | "all";

/** The expert's contribution is removed and nothing takes its place; "shared" is the shared expert. */
export interface ZeroIntervention extends Scope {
  kind: "zero";
  layers: Layers;
  experts: (number | "shared")[];
}

/** Route-around: the experts cannot be chosen, the others share the whole mass. */
export interface MaskIntervention extends Scope {
  kind: "mask";
  layers: Layers;
  experts: number[];
}

/** Where `from` was selected, the weights of `to` run under the gate of `from`. */
export interface SwapIntervention extends Scope {
  kind: "swap";
  layers: Layers;
  from: number;
  to: number;
}

/** Added to the router logits, by expert number. */
export interface BiasIntervention extends Scope {
  kind: "bias";
  layers: Layers;
  bias: Record<string, number>;
}

/** The experts are always among the k chosen. */
export interface ForceIntervention extends Scope {
  kind: "force";
  layers: Layers;
  experts: number[];
}

/** The number of chosen experts. */
export interface TopKIntervention extends Scope {
  kind: "top-k";
  layers: Layers;
  k: number;
}

/** A recorded route takes the place of the selection; gates from this pass, or as recorded. */
export interface ReplayIntervention extends Scope {
  kind: "replay";
  layers: Layers;
  weights: "model" | "recorded";
  /** A stored trace by name or path until `resolveRoutes` has loaded it. */
  route: string | RecordedRoute;
}

/** A function at a hook point. Without `id` and `version` it shares no cache, and its run cannot be resumed. */
export interface CallbackIntervention extends Scope {
  kind: "callback";
  /** Absent at the hooks of `MODEL_HOOKS`. */
  layers?: Layers;
  hook: string;
  id?: string;
  version?: string;
  /** In the API only; JSON has no functions. Gets the values at the hook and where they stand; may return others. */
  callback?: HookCallback;
}

/**
 * Values at a hook point, a copy: rows of `width` numbers, all of one text. A returned Float32Array of the same length (it may be the same
 * one) takes their place, now or when a promise gives it; nothing leaves them. Rows come in pieces, as a prompt is computed, so what is
 * returned for a row must depend on that row alone. Numbers must be finite; -Infinity at `router.logits` and `output.logits` takes an
 * expert or a token out. What it throws fails its own request; others of the same step go on. It cannot call the model that it is part of.
 */
export type HookCallback = (
  values: Float32Array,
  where: HookPlace,
) => Float32Array | undefined | Promise<Float32Array | undefined>;

/**
 * Where the values of a callback stand: `layer` is absent at the hooks of `MODEL_HOOKS`, which see the rows whose output somebody wants;
 * `expert` is there at `expert.output`, which sees the rows that this expert serves. `segments` index `STANDARD_SEGMENTS`; `request` tells
 * texts that are computed side by side apart and has no other meaning.
 */
export type HookPlace = NativeHookPlace;

export type Intervention =
  | ZeroIntervention
  | MaskIntervention
  | SwapIntervention
  | BiasIntervention
  | ForceIntervention
  | TopKIntervention
  | ReplayIntervention
  | CallbackIntervention;

const index = z.int().min(0);
const layers = z.union([z.array(index).min(1), z.literal("all")]);
const experts = z.array(index).min(1);
const finite = z.number().refine((value) => Number.isFinite(Math.fround(value)));
const scope = {
  positions: z
    .tuple([index, index])
    .refine(([start, end]) => start < end)
    .optional(),
  origin: z.enum(["prompt", "generated"]).optional(),
  segments: z.array(z.string()).min(1).optional(),
};
const route = z.custom<string | RecordedRoute>((value) =>
  typeof value === "string" ? value !== "" : typeof value === "object" && value !== null && "tokenIds" in value,
);

const FORMS = {
  zero: z.strictObject({ layers, experts: z.array(z.union([index, z.literal("shared")])).min(1), ...scope }),
  mask: z.strictObject({ layers, experts, ...scope }),
  swap: z.strictObject({ layers, from: index, to: index, ...scope }),
  bias: z.strictObject({
    layers,
    bias: z.record(z.string().regex(/^(0|[1-9]\d*)$/), finite).refine((bias) => Object.keys(bias).length > 0),
    ...scope,
  }),
  force: z.strictObject({ layers, experts, ...scope }),
  "top-k": z.strictObject({ layers, k: z.int().min(1), ...scope }),
  replay: z.strictObject({ layers, weights: z.enum(["model", "recorded"]), route, ...scope }),
  callback: z.strictObject({
    layers: layers.optional(),
    hook: z.enum([...LAYER_HOOKS, ...MODEL_HOOKS]),
    id: z.string().min(1).optional(),
    version: z.string().min(1).optional(),
    callback: z.custom<HookCallback>((value) => typeof value === "function").optional(),
    ...scope,
  }),
};

/** What each field wants, for the sentence that a wrong one gets. */
const EXPECTED: Readonly<Record<string, string>> = {
  layers: 'layer numbers from 0, at least one, or "all"',
  experts: 'expert numbers from 0, at least one ("shared" for kind zero only)',
  from: "an expert number from 0",
  to: "an expert number from 0",
  bias: 'finite numbers by expert number, e.g. {"2": 1.5}',
  k: "a number of experts from 1",
  weights: '"model" or "recorded"',
  route: "the name of a stored trace or a recorded route",
  hook: `one of ${[...LAYER_HOOKS, ...MODEL_HOOKS].join(", ")}`,
  id: "a name that is not empty",
  version: "a version that is not empty",
  callback: "a function",
  positions: "[start, end) with 0 <= start < end",
  origin: '"prompt" or "generated"',
  segments: "names of text parts, at least one",
};

/**
 * Interventions from plain values, one object or a list, with their form checked: what a model has is not asked yet. Throws
 * INVALID_ARGUMENT that names the object and the field; `source` says where the value came from.
 */
export function parseInterventions(value: unknown, source = "interventions"): Intervention[] {
  if (!Array.isArray(value)) return [parseIntervention(value, source)];
  return value.map((item, position) => parseIntervention(item, `${source}[${position}]`));
}

function parseIntervention(value: unknown, source: string): Intervention {
  if (typeof value !== "object" || value === null) throw invalidArgument(source, "an intervention object", value);
  const { kind, ...fields } = value as Record<string, unknown>;
  if (typeof kind !== "string" || !Object.hasOwn(FORMS, kind)) {
    throw invalidArgument(`${source}.kind`, `one of ${Object.keys(FORMS).join(", ")}`, kind);
  }
  const form = FORMS[kind as keyof typeof FORMS];
  const parsed = form.safeParse(fields);
  if (parsed.success) return { kind, ...parsed.data } as Intervention;
  const issue = parsed.error.issues[0]!;
  if (issue.code === "unrecognized_keys") {
    const known = Object.keys(form.shape).join(", ");
    throw new InvalidArgumentError(`Expected the fields ${known} in ${source} of kind ${kind}, got ${issue.keys[0]}.`);
  }
  const field = String(issue.path[0]);
  const actual = JSON.stringify(fields[field])?.slice(0, 80) ?? "nothing";
  throw new InvalidArgumentError(`Expected ${EXPECTED[field]} for ${source}.${field}, got ${actual}.`);
}

/** Replaces every named route by what `load` returns for it; each name is loaded once. */
export async function resolveRoutes(
  interventions: readonly Intervention[],
  load: (name: string) => Promise<RecordedRoute>,
): Promise<Intervention[]> {
  const loaded = new Map<string, Promise<RecordedRoute>>();
  return Promise.all(
    interventions.map(async (intervention) => {
      if (intervention.kind !== "replay" || typeof intervention.route !== "string") return intervention;
      const name = intervention.route;
      if (!loaded.has(name)) loaded.set(name, load(name));
      return { ...intervention, route: await loaded.get(name)! };
    }),
  );
}
