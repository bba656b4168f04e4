import { useGrid } from "./expert-cells.js";
import { Figure } from "./figure.js";
import { cellSize, checkSize, finite, sparseLabels } from "./values.js";

export interface DomainHeatmapData {
  domains: readonly string[];
  /** Global layer numbers. */
  layers: readonly number[];
  numExperts: number;
  /** Selection rate in a domain over k/N: 1 is even. [domain][layers.length, numExperts] */
  overUniform: readonly ArrayLike<number>[];
  title?: string;
}

/** With more layers a panel for each would not fit a page: then each domain has one. */
const MOST_LAYER_PANELS = 12;

/**
 * Specialisation: which experts each domain uses, one panel per layer, or per domain where layers are many; a dot marks an expert that a
 * domain never chose.
 */
export function domainHeatmap(data: DomainHeatmapData): Figure {
  const { domains, layers, numExperts, overUniform, title = "Expert use by domain" } = data;
  checkSize("overUniform", overUniform, "domains", domains.length);
  const byLayer = layers.length <= MOST_LAYER_PANELS;
  const values = domains.flatMap((domain, d) => {
    checkSize(`overUniform of ${domain}`, overUniform[d]!, "layers x experts", layers.length * numExperts);
    return Array.from(overUniform[d]!, (value, slot) => ({
      domain,
      layer: layers[Math.floor(slot / numExperts)]!,
      panel: byLayer ? `layer ${layers[Math.floor(slot / numExperts)]}` : domain,
      expert: slot % numExperts,
      value: finite(value),
    }));
  });
  return new Figure(`Expert use of ${domains.length} domains in ${layers.length} layers, 1 is the even share.`, {
    title: { text: title, subtitle: "times the even share k/N; a dot marks an expert that the domain never chose" },
    data: { values },
    facet: {
      row: {
        ...{ field: "panel", type: "ordinal", title: null },
        sort: byLayer ? layers.map((layer) => `layer ${layer}`) : [...domains],
        header: { labelAngle: 0, labelAlign: "left" },
      },
    },
    spec: useGrid({
      ...{ numExperts, values, rowHeight: byLayer ? Math.max(14, cellSize(numExperts)) : 9 },
      rows: byLayer
        ? { field: "domain", title: null, sort: [...domains] }
        : { field: "layer", title: "layer", labels: sparseLabels(layers.length).map((index) => layers[index]!) },
      legend: { title: "use", gradientLength: 80 },
    }),
    resolve: { axis: { x: "shared" } },
    spacing: 8,
  });
}
