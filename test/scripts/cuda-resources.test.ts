/** The gate of the CUDA build: what ptxas reports, and what is refused. */
import { describe, expect, it } from "vitest";
import { parseResources, resourceViolations } from "../../scripts/cuda/resources.mjs";

const KERNEL = "_ZN8moescope4cuda44_GLOBAL__N__66a2a85a_11_rms_norm_cu_7b1eda7715rms_norm_kernelENS0_13RmsNormParamsE";

/** As nvcc 13.0.88 prints it. */
const log = (target: number, spills: number, smem = "") => `ptxas info    : 0 bytes gmem
ptxas info    : Compiling entry function '${KERNEL}' for 'sm_${target}'
ptxas info    : Function properties for ${KERNEL}
    24 bytes stack frame, ${spills} bytes spill stores, ${spills * 2} bytes spill loads
ptxas info    : Used 40 registers, used 1 barriers, ${smem}384 bytes cmem[0]
ptxas info    : Compile time = 29.822 ms
`;

describe("resources of kernels", () => {
  it("are read from the output of ptxas, one entry for each target", () => {
    const found = parseResources(log(80, 0) + log(90, 4, "1024 bytes smem, "));
    expect(found).toMatchObject([
      { kernel: "rms_norm_kernel", target: 80, registers: 40, spillBytes: 0, stackBytes: 24, sharedBytes: 0 },
      { kernel: "rms_norm_kernel", target: 90, registers: 40, spillBytes: 12, stackBytes: 24, sharedBytes: 1024 },
    ]);
  });

  it("pass where nothing spills and everything fits", () => {
    expect(resourceViolations(parseResources(log(80, 0) + log(86, 0)))).toEqual([]);
  });

  it("fail where a kernel spills, unless it is a cold one", () => {
    const resources = parseResources(log(86, 4));
    expect(resourceViolations(resources)).toEqual(["rms_norm_kernel for sm_86 spills 12 bytes of registers"]);
    expect(resourceViolations(resources, new Set(["rms_norm"]))).toEqual([]);
  });

  it("fail where a block's shared memory exceeds its target", () => {
    const large = "110000 bytes smem, ";
    expect(resourceViolations(parseResources(log(80, 0, large)))).toEqual([]);
    expect(resourceViolations(parseResources(log(89, 0, large)))).toHaveLength(1);
  });

  it("fail where ptxas said nothing of a kernel", () => {
    expect(resourceViolations(parseResources(log(80, 0).split("ptxas info    : Used")[0]!))).toHaveLength(1);
  });
});
