import type { Program, ProgramResult, RunProgramOptions, Sandbox, SandboxStatus } from "./sandbox.js";

/** The first of several sandboxes that works here. All of them isolate; which one it was stands in `status()`. */
export class FirstSandbox implements Sandbox {
  readonly name: string;
  readonly #candidates: readonly Sandbox[];
  #chosen: Promise<{ sandbox?: Sandbox; status: SandboxStatus }> | undefined;

  constructor(candidates: readonly Sandbox[]) {
    this.#candidates = candidates;
    this.name = candidates.map(({ name }) => name).join(" or ");
  }

  async status(): Promise<SandboxStatus> {
    return (await this.#choice()).status;
  }

  async run(program: Program, options?: RunProgramOptions): Promise<ProgramResult> {
    const { sandbox, status } = await this.#choice();
    if (sandbox !== undefined) return sandbox.run(program, options);
    return { verdict: "not-run", reason: status.available ? "" : status.reason, output: "", durationMs: 0 };
  }

  #choice(): Promise<{ sandbox?: Sandbox; status: SandboxStatus }> {
    this.#chosen ??= this.#choose();
    return this.#chosen;
  }

  async #choose(): Promise<{ sandbox?: Sandbox; status: SandboxStatus }> {
    const reasons: string[] = [];
    for (const sandbox of this.#candidates) {
      const status = await sandbox.status();
      if (status.available) return { sandbox, status };
      reasons.push(status.reason);
    }
    return { status: { available: false, reason: reasons.join("; ") } };
  }
}
