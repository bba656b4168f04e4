import { useGrid } from "./expert-cells.js";
import { Figure } from "./figure.js";
import { checkSize, finite } from "./values.js";

export interface DomainHeatmapData {
  domains: readonly string[];
  /** Global layer numbers; one panel each. */
  layers: readonly number[];
  numExperts: number;
  /** Selection rate in a domain over k/N: 1 is even. [domain][layers.length, numExperts] */
  overUniform: readonly ArrayLike<number>[];
  title?: string;
}

/** Specialisation: which experts each domain uses, one panel per layer; a dot marks an expert that a domain never chose. */
export function domainHeatmap(data: DomainHeatmapData): Figure {
  const { domains, layers, numExperts, overUniform, title = "Expert use by domain" } = data;
  checkSize("overUniform", overUniform, "domains", domains.length);
  const values = domains.flatMap((domain, d) => {
    checkSize(`overUniform of ${domain}`, overUniform[d]!, "layers x experts", layers.length * numExperts);
    return Array.from(overUniform[d]!, (value, slot) => ({
      domain,
      layer: `layer ${layers[Math.floor(slot / numExperts)]}`,
      expert: slot % numExperts,
      value: finite(value),
    }));
  });
  return new Figure(`Expert use of ${domains.length} domains in ${layers.length} layers, 1 is the even share.`, {
    title: { text: title, subtitle: "times the even share k/N; a dot marks an expert that the domain never chose" },
    data: { values },
    facet: {
      row: {
        field: "layer",
        type: "ordinal",
        sort: layers.map((layer) => `layer ${layer}`),
        title: null,
        header: { labelAngle: 0, labelAlign: "left" },
      },
    },
    spec: useGrid({
      ...{ numExperts, values, rowHeight: 14 },
      rows: { field: "domain", title: null, sort: [...domains] },
      legend: { title: "use", gradientLength: 80 },
    }),
    resolve: { axis: { x: "shared" } },
    spacing: 8,
  });
}
