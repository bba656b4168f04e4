import { evaluate, type LanguageModel } from "../../src/index.js";
import { toyModel, toyTask } from "./toy-task.js";

/** What the process that gets killed runs: a slow run into the folder that MOESCOPE_TEST_RUN names. */
export async function run(): Promise<void> {
  const model = toyModel();
  const slow: LanguageModel = {
    ...model,
    loglikelihood: async (requests, options) => {
      await new Promise((resolve) => setTimeout(resolve, 5));
      return model.loglikelihood(requests, options);
    },
  };
  await evaluate(slow, [toyTask()], { out: process.env.MOESCOPE_TEST_RUN, resume: true, batchSize: 1 });
}
