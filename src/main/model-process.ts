/** Entry of a model process: the subprocess in which a node agent loads a model that several sessions share. */
import { stderrLogger } from '../std/logger.js';
import { runModelProcess } from '../vision/sharing/model-process.js';

runModelProcess(stderrLogger());
