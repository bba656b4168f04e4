/** Domains by their routes: a planted expert is found, labels that mean nothing are not. */
import { describe, expect, it } from "vitest";
import { RoutingLoad } from "../../src/analysis/routing-load.js";
import { domainPlot, domainsOfLoad, favourites } from "../../src/experiment/domain-routes.js";
import { STANDARD_SEGMENTS } from "../../src/router/schema.js";
import { RouterTrace } from "../../src/router/trace.js";
import { METADATA, randomNumbers } from "../router/synthetic-trace.js";

const TOKENS = 20;
const NUM_EXPERTS = METADATA.numExperts;

/** Documents of random routes; documents with a planted expert choose it in layer 3 for every second token. */
function loadOf(documents: number, planted: (document: number) => number | undefined, seed = 1): RoutingLoad {
  const random = randomNumbers(seed);
  const load = new RoutingLoad();
  for (let document = 0; document < documents; document++) {
    const experts = new Uint16Array(TOKENS * 2 * 2);
    for (let row = 0; row < TOKENS * 2; row++) {
      const wanted = row % 4 === 3 ? planted(document) : undefined;
      const first = wanted ?? Math.floor(random() * NUM_EXPERTS);
      const second = (first + 1 + Math.floor(random() * (NUM_EXPERTS - 1))) % NUM_EXPERTS;
      experts.set([first, second], row * 2);
    }
    const perToken = (value: number) => new Int32Array(TOKENS).fill(value);
    const columns = {
      tokenIds: perToken(1),
      positions: Int32Array.from({ length: TOKENS }, (_, i) => i),
      origins: new Uint8Array(TOKENS),
      segments: perToken(1),
      computed: new Uint8Array(TOKENS).fill(1),
      keys: perToken(0),
      topkExperts: experts,
      topkWeights: new Float32Array(TOKENS * 4).fill(0.25),
      sharedGate: new Float32Array(TOKENS * 2),
      margin: new Float32Array(TOKENS * 2),
      intervened: new Uint8Array(TOKENS * 2),
      routerLogits: new Float32Array(0),
    };
    const layout = { metadata: METADATA, level: "topk" as const, topK: 2, layers: [1, 3], segments: STANDARD_SEGMENTS };
    const keys = [{ task: "t", sampleId: String(document), epoch: 0 }];
    load.add(new RouterTrace({ layout, keys, columns }));
  }
  return load;
}

const parity = ({ sampleId }: { sampleId?: string }) => (Number(sampleId) % 2 === 0 ? "even" : "odd");

describe("routes by domain", () => {
  it("finds the expert that a domain was given, and no other layer", () => {
    const found = domainsOfLoad(
      loadOf(40, (document) => (document % 2 === 0 ? 4 : undefined)),
      parity,
      {
        permutations: 999,
      },
    );
    expect(found).toMatchObject({ domains: ["even", "odd"], documents: [20, 20], tokens: [400, 400], layers: [1, 3] });
    const [one, three] = found.perLayer;
    expect(three!.q).toBeLessThanOrEqual(0.002);
    expect(three!.corrected).toBeGreaterThan(4 * three!.null.sd);
    expect(one!.p).toBeGreaterThan(0.05);
    const [favourite, ...others] = favourites(found, "even");
    expect(favourite).toMatchObject({ layer: 3, expert: 4 });
    expect(favourite!.interval[0]).toBeGreaterThan(0);
    expect(others).toEqual([]);
    // The planted expert is in half of the tokens, elsewhere in a third of them.
    expect(favourite!.rate).toBeGreaterThan(0.5);
    expect(domainPlot(found).overUniform[0]![NUM_EXPERTS + 4]).toBeCloseTo((favourite!.rate * NUM_EXPERTS) / 2, 12);
  });

  it("claims no more than its error rate allows where labels mean nothing", () => {
    let lowP = 0;
    let withClaim = 0;
    for (let seed = 1; seed <= 20; seed++) {
      const found = domainsOfLoad(
        loadOf(20, () => 4, seed),
        parity,
        { permutations: 499 },
      );
      lowP += found.perLayer.filter(({ p }) => p <= 0.05).length;
      if (favourites(found, "even").length + favourites(found, "odd").length > 0) withClaim++;
      // The plug-in is positive all the same; the null takes that away.
      for (const { information, corrected, null: chance } of found.perLayer) {
        expect(information).toBeGreaterThan(0);
        expect(Math.abs(corrected)).toBeLessThan(5 * chance.sd);
      }
    }
    // Of 40 tests at 5 % more than 6, or of 20 families at 5 % more than 4, come up once in 300 or once in 400 times.
    expect(lowP).toBeLessThanOrEqual(6);
    expect(withClaim).toBeLessThanOrEqual(4);
  });

  it("refuses what cannot be compared", () => {
    const load = loadOf(4, () => undefined);
    expect(() => domainsOfLoad(load, () => "all")).toThrow(
      'Expected at least two domains to compare, got "all" alone.',
    );
    const lonely = ({ sampleId }: { sampleId?: string }) => (sampleId === "0" ? "a" : "b");
    expect(() => domainsOfLoad(load, lonely)).toThrow('Expected at least two documents in every domain, got 1 in "a".');
    const missing = ({ sampleId }: { sampleId?: string }) => (sampleId === "0" ? undefined : parity({ sampleId }));
    expect(() =>
      domainsOfLoad(
        loadOf(6, () => undefined),
        missing,
      ),
    ).toThrow('Expected a domain for every sample, got none for "0".');
  });
});
