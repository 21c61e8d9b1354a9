// What pages do beyond being pages. Each part looks for what it works on, and does nothing where there is none.

import { start as copy } from "./copy.js";
import { start as link } from "./link.js";
import { start as live } from "./live.js";
import { start as times } from "./times.js";

copy();
link();
live();
times();
