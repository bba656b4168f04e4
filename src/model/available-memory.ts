/** Memory that this process can still have: what the system has free, within the limits of the cgroups that it runs in. */
import { readFileSync } from "node:fs";
import { freemem } from "node:os";
import { join } from "node:path";

export interface AvailableMemory {
  bytes: number;
  /** What sets the bound. */
  boundBy: "system" | "cgroup" | "card";
}

/** File pages that a cgroup has read count as used, but go when something else needs the room. */
interface CgroupFiles {
  limit: string;
  used: string;
  /** Lines of memory.stat that count such pages. */
  reclaimable: readonly string[];
}

const V2: CgroupFiles = {
  limit: "memory.max",
  used: "memory.current",
  reclaimable: ["inactive_file", "active_file"],
};
const V1: CgroupFiles = {
  limit: "memory.limit_in_bytes",
  used: "memory.usage_in_bytes",
  reclaimable: ["total_inactive_file", "total_active_file"],
};

/** `root` is the root of the file system, for tests. */
export function availableMemory(root: string = "/"): AvailableMemory {
  const system = systemBytes(root);
  const cgroup = Math.min(...cgroupFolders(root).map(([folder, files]) => cgroupBytes(folder, files)));
  return cgroup < system ? { bytes: cgroup, boundBy: "cgroup" } : { bytes: system, boundBy: "system" };
}

/** MemAvailable: free pages and those of files that can be dropped. Elsewhere than on Linux: what is free. */
function systemBytes(root: string): number {
  const match = /^MemAvailable:\s+(\d+) kB/m.exec(textOf(join(root, "proc/meminfo")));
  return match === null ? freemem() : Number(match[1]) * 1024;
}

/** The cgroup of this process and all above it, as far as they can be seen. */
function cgroupFolders(root: string): [folder: string, files: CgroupFiles][] {
  const found: [string, CgroupFiles][] = [];
  for (const line of textOf(join(root, "proc/self/cgroup")).split("\n")) {
    const [id, controllers, path] = line.split(":");
    const isV2 = id === "0" && controllers === "";
    if (path === undefined || !(isV2 || controllers!.split(",").includes("memory"))) continue;
    const mount = join(root, isV2 ? "sys/fs/cgroup" : "sys/fs/cgroup/memory");
    const names = path.split("/").filter((name) => name !== "" && name !== "..");
    // In a container the path may be that outside: then only the mount itself is there.
    for (let depth = names.length; depth >= 0; depth--) {
      found.push([join(mount, ...names.slice(0, depth)), isV2 ? V2 : V1]);
    }
  }
  return found;
}

/** What is left below a cgroup's limit; infinite where there is none. */
function cgroupBytes(folder: string, { limit, used, reclaimable }: CgroupFiles): number {
  const most = Number.parseInt(textOf(join(folder, limit)), 10);
  const now = Number.parseInt(textOf(join(folder, used)), 10);
  if (!(most >= 0 && now >= 0)) return Number.POSITIVE_INFINITY;
  const stat = textOf(join(folder, "memory.stat"));
  const pages = reclaimable.map((name) => Number(new RegExp(`^${name} (\\d+)$`, "m").exec(stat)?.[1] ?? 0));
  return Math.max(0, most - now + pages.reduce((sum, bytes) => sum + bytes, 0));
}

function textOf(path: string): string {
  try {
    return readFileSync(path, "utf8");
  } catch {
    return ""; // not this system's way to say it
  }
}
