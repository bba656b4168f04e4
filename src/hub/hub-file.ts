/** A file of a repository on the Hugging Face hub. */
export interface HubFile {
  /** `owner/name`. */
  repo: string;
  /** A commit, a tag or a branch. */
  revision: string;
  file: string;
}

const HUB = "https://huggingface.co";

/** The address of a dataset's file, on the hub or on the mirror that `HF_ENDPOINT` names. */
export function datasetFileUrl({ repo, revision, file }: HubFile): string {
  const { HF_ENDPOINT } = process.env;
  const base = (HF_ENDPOINT || HUB).replace(/\/+$/, "");
  return `${base}/datasets/${repo}/resolve/${encodeURIComponent(revision)}/${file}`;
}

/** `HF_TOKEN` as a header, for gated files. It goes to the hub alone: redirects to other hosts lose it. */
export function hubHeaders(): Record<string, string> {
  const { HF_TOKEN } = process.env;
  return HF_TOKEN ? { authorization: `Bearer ${HF_TOKEN}` } : {};
}
