/** What the demo asks: one prompt for each domain that the embedded model was trained on, in the forms of evals/mini. */

export interface DemoPrompt {
  domain: string;
  prompt: string;
  /** Through the chat template, or as bare text. */
  isChat: boolean;
}

export const DEMO_PROMPTS: readonly DemoPrompt[] = [
  { domain: "English", prompt: "What is the capital of France?", isChat: true },
  { domain: "Chinese", prompt: "法国的首都是哪里？", isChat: true },
  { domain: "arithmetic", prompt: "Tom has 7 pens. He buys 5 pens. How many pens does he have now?", isChat: true },
  { domain: "code", prompt: 'def add_three(x):\n    """Return x plus 3."""\n', isChat: false },
];
