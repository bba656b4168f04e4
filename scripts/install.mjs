/**
 * npm runs this after it has installed moescope. In another project's node_modules it builds the native core; in a clone it does
 * nothing: there `npm run demo`, `npm test` and the rest build what they need.
 */
import { IS_INSTALLED, prepare, runScript } from "./prepare.mjs";

if (IS_INSTALLED) await runScript(prepare);
