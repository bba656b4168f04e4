/**
 * Which experts a domain uses: from expert load by document and a domain for each document. Token type confounds it (studies find that
 * experts follow token type), and a plug-in figure of few documents looks specialised by chance: read the corrected one.
 */

import { invalidArgument } from "../errors.js";
import type { DocumentKey } from "./accumulator.js";
import { jensenShannon, millerMadow, mutualInformation } from "./information.js";
import { addScaled } from "./numbers.js";
import { permutationPValue } from "./permutation.js";
import { Random } from "./random.js";
import type { RoutingLoad } from "./routing-load.js";

/** Document permutation null of the plug-in information, by layer. */
export interface InformationNull {
  mean: Float64Array;
  sd: Float64Array;
  /** Plug-in less the mean of the null; 0 without specialisation. */
  corrected: Float64Array;
  /** One-sided, (1 + #{null >= observed}) / (B + 1). */
  pValue: Float64Array;
}

/** Documents by domain. D domains in ascending order, L layers, N experts. */
export class Specialization {
  readonly domains: readonly string[];
  readonly #load: RoutingLoad;
  /** Domain number of each document; -1 for a document that `domainOf` left out. */
  readonly #domainOfDocument: Int32Array;
  /** c_e,D. [D][L, N] */
  readonly #counts: Float64Array[];

  /**
   * @param domainOf the domain of a document; undefined leaves the document out (a shared prefix, say).
   * @throws InvalidArgumentError where no document has a domain.
   */
  constructor(load: RoutingLoad, domainOf: (document: DocumentKey) => string | undefined) {
    const names = load.documents.map(domainOf);
    this.#load = load;
    this.domains = [...new Set(names.filter((name) => name !== undefined))].sort();
    if (this.domains.length === 0) throw invalidArgument("domainOf", "a domain for at least one document", undefined);
    this.#domainOfDocument = Int32Array.from(names, (name) => (name === undefined ? -1 : this.domains.indexOf(name)));
    this.#counts = this.#countsByDomain(this.#domainOfDocument);
  }

  /** Tokens of each domain, T_D. */
  tokens(): Float64Array {
    const tokens = new Float64Array(this.domains.length);
    this.#domainOfDocument.forEach((domain, document) => {
      if (domain >= 0) tokens[domain]! += this.#load.tokensOfDocument[document]!;
    });
    return tokens;
  }

  /** h_e given D = c_e,D / T_D; uniform k/N. OLMoE, arXiv 2409.02060. [D][L, N] */
  selectionRate(): Float64Array[] {
    const tokens = this.tokens();
    return this.#counts.map((counts, domain) => counts.map((count) => count / tokens[domain]!));
  }

  /** (h_e given D) / (k/N), from 0 to N/k; uniform 1. OLMoE. [D][L, N] */
  overUniform(): Float64Array[] {
    const { numExperts, numExpertsPerToken } = this.#load.shape;
    return this.selectionRate().map((rates) => rates.map((rate) => (rate * numExperts) / numExpertsPerToken));
  }

  /** (f_e given D) / f_e over all domains; 1 without specialisation, NaN for an expert never used. [D][L, N] */
  lift(): Float64Array[] {
    const all = new Float64Array(this.#counts[0]!.length);
    for (const counts of this.#counts) addScaled(all, counts);
    const tokens = this.tokens();
    const total = tokens.reduce((sum, value) => sum + value, 0);
    return this.#counts.map((counts, domain) =>
      counts.map((count, slot) => (count * total) / (tokens[domain]! * all[slot]!)),
    );
  }

  /** Plug-in I(E; D) over routes in nats, at most ln D; with weights w_D = T_D / T it is the Jensen-Shannon divergence. [L] */
  information(): Float64Array {
    return this.#informationOf(this.#counts);
  }

  /** The same less (R - 1)(C - 1) / (2 T k): routes of one document are alike, so it corrects too little. [L] */
  informationMillerMadow(): Float64Array {
    return this.#perLayer((layer) => millerMadow(this.#table(this.#counts, layer), this.#load.shape.numExperts));
  }

  /** Generalised Jensen-Shannon divergence of f given D in nats, each domain weighing alike (or as its tokens). [L] */
  jensenShannon(weights: "equal" | "tokens" = "equal"): Float64Array {
    const w = weights === "equal" ? new Float64Array(this.domains.length).fill(1) : this.tokens();
    return this.#perLayer((layer) =>
      jensenShannon(
        this.#counts.map((counts) => this.#row(counts, layer)),
        w,
      ),
    );
  }

  /** Divergence of each two domains in nats, at most ln 2: [0, 1], [0, 2], ... [1, 2], ... [L][D (D - 1) / 2] */
  jensenShannonPairwise(): Float64Array[] {
    return this.#load.shape.layers.map((_, layer) => {
      const rows = this.#counts.map((counts) => this.#row(counts, layer));
      return Float64Array.from(
        rows.flatMap((row, i) => rows.slice(i + 1).map((other) => jensenShannon([row, other], [1, 1]))),
      );
    });
  }

  /** I(E; D) with the domain labels permuted over documents: its mean is the bias, and p says whether any of it is real. */
  permutationNull(options: { permutations?: number; seed?: number } = {}): InformationNull {
    const { permutations = 999, seed = 0 } = options;
    const random = new Random(seed);
    const labelled = [...this.#domainOfDocument.keys()].filter((document) => this.#domainOfDocument[document]! >= 0);
    const labels = Int32Array.from(labelled, (document) => this.#domainOfDocument[document]!);
    const permuted = this.#domainOfDocument.slice();
    const drawn = Array.from({ length: permutations }, () => {
      random.shuffle(labels);
      labelled.forEach((document, i) => {
        permuted[document] = labels[i]!;
      });
      return this.#informationOf(this.#countsByDomain(permuted));
    });
    const observed = this.information();
    const mean = this.#perLayer((layer) => drawn.reduce((sum, values) => sum + values[layer]!, 0) / permutations);
    const sd = this.#perLayer((layer) => {
      const squares = drawn.reduce((sum, values) => sum + (values[layer]! - mean[layer]!) ** 2, 0);
      return Math.sqrt(squares / (permutations - 1));
    });
    const pValue = this.#perLayer((layer) =>
      permutationPValue(
        observed[layer]!,
        drawn.map((values) => values[layer]!),
        "greater",
      ),
    );
    return { mean, sd, corrected: observed.map((value, layer) => value - mean[layer]!), pValue };
  }

  /** I(E; D) with each document counted as often as its weight says: for the bootstrap. [L] */
  informationWeighted(weights: ArrayLike<number>): Float64Array {
    return this.#informationOf(this.#countsByDomain(this.#domainOfDocument, weights));
  }

  /**
   * Mean over a domain's documents of each one's mean gate, 0 where e is not chosen: long and short documents weigh alike.
   * ESFT, arXiv 2407.01906, eq. 6. [D][L, N]
   */
  affinityGate(weights?: ArrayLike<number>): Float64Array[] {
    return this.#meanOverDocuments((document) => this.#load.documentGate(document), weights);
  }

  /** Mean over a domain's documents of each one's share of tokens that choose e, over k; sums to 1. ESFT eq. 7. [D][L, N] */
  affinityTokens(weights?: ArrayLike<number>): Float64Array[] {
    const { numExpertsPerToken } = this.#load.shape;
    return this.#meanOverDocuments(
      (document) => this.#load.documentRate(document).map((rate) => rate / numExpertsPerToken),
      weights,
    );
  }

  #meanOverDocuments(of: (document: number) => Float64Array, weights?: ArrayLike<number>): Float64Array[] {
    return this.domains.map((_, domain) => {
      const sum = new Float64Array(this.#counts[0]!.length);
      let documents = 0;
      this.#domainOfDocument.forEach((label, document) => {
        const weight = weights?.[document] ?? 1;
        if (label !== domain || weight === 0 || this.#load.tokensOfDocument[document] === 0) return;
        documents += weight;
        addScaled(sum, of(document), weight);
      });
      return sum.map((value) => value / documents);
    });
  }

  #countsByDomain(domainOfDocument: Int32Array, weights?: ArrayLike<number>): Float64Array[] {
    const { layers, numExperts } = this.#load.shape;
    const counts = this.domains.map(() => new Float64Array(layers.length * numExperts));
    domainOfDocument.forEach((domain, document) => {
      const row = this.#load.documentCounts(document);
      const weight = weights?.[document] ?? 1;
      if (domain < 0 || row === undefined || weight === 0) return;
      addScaled(counts[domain]!, row, weight);
    });
    return counts;
  }

  #informationOf(counts: readonly Float64Array[]): Float64Array {
    return this.#perLayer((layer) => mutualInformation(this.#table(counts, layer), this.#load.shape.numExperts));
  }

  /** The table [D, N] of a layer. */
  #table(counts: readonly Float64Array[], layer: number): Float64Array {
    const { numExperts } = this.#load.shape;
    const table = new Float64Array(counts.length * numExperts);
    counts.forEach((row, domain) => {
      table.set(this.#row(row, layer), domain * numExperts);
    });
    return table;
  }

  #row(counts: Float64Array, layer: number): Float64Array {
    const { numExperts } = this.#load.shape;
    return counts.subarray(layer * numExperts, (layer + 1) * numExperts);
  }

  #perLayer(of: (layer: number) => number): Float64Array {
    return Float64Array.from({ length: this.#load.shape.layers.length }, (_, layer) => of(layer));
  }
}
