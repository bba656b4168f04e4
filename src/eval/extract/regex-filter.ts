import { findAll, pythonStrip } from "../python-text.js";

/** lm-evaluation-harness's filters and its `exact_match` metric (release 0.4.13), on which most generative tasks of track `ref` rest. */

/**
 * The filters `regex` and `take_first` together: one match out of all, its first non-empty group (the whole match where the pattern
 * has no group), stripped. null where the harness says "[invalid]".
 *
 * @param select which match: "first" or "last".
 */
export function regexFilter(text: string, regex: RegExp, select: "first" | "last"): string | null {
  const found = findAll(regex, text).at(select === "first" ? 0 : -1);
  if (found === undefined) return null;
  const [whole, ...groups] = found;
  if (groups.length === 0) return pythonStrip(whole!);
  if (groups.length === 1) return pythonStrip(groups[0]!);
  const group = groups.find((candidate) => candidate !== "");
  return group === undefined ? null : pythonStrip(group);
}

/** `exact_match` with `ignore_case` and `regexes_to_ignore`: both sides lose every match of each regex, in order, then case. */
export function exactMatch(answer: string, target: string, ignored: readonly RegExp[]): boolean {
  const reduce = (text: string): string =>
    ignored.reduce((rest, regex) => rest.replace(new RegExp(regex.source, `${regex.flags}g`), ""), text).toLowerCase();
  return reduce(answer) === reduce(target);
}
