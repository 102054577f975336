/** `gallery enrol|list|remove`. */
import type { Command } from 'commander';
import { defaultCacheDir } from '../../config/environment.js';
import type { Person } from '../../main/people.js';
import { left, right, table } from '../../main/text/table.js';
import { createProgress, globalOptions, print } from '../output.js';

const DIR = ['--gallery <dir>', 'folder with one folder of pictures per person'] as const;

export function addGalleryCommands(program: Command): void {
  const gallery = program
    .command('gallery')
    .description('the people whom recognisers name; running sessions follow changes');
  gallery
    .command('enrol')
    .argument('<name>', 'the label that the person gets')
    .argument('<pictures...>', 'pictures of the person; the likeliest face of each counts')
    .requiredOption(...DIR)
    .description('add a person, or more pictures of one')
    .action(async (name: string, pictures: string[], flags: { gallery: string }, command: Command) => {
      const { enrolPerson } = await import('../../main/people.js');
      const options = globalOptions(command);
      const progress = createProgress(options);
      try {
        const person = await enrolPerson({
          ...{ dir: flags.gallery, name, pictures, cacheDir: defaultCacheDir() },
          onProgress: (message) => progress.say(message),
        });
        progress.end();
        print(options, person, () => `${person.name}: ${person.pictures} picture${person.pictures === 1 ? '' : 's'}`);
      } finally {
        progress.end();
      }
    });
  gallery
    .command('list')
    .requiredOption(...DIR)
    .description('who is enrolled')
    .action(async (flags: { gallery: string }, command: Command) => {
      const { listPeople } = await import('../../main/people.js');
      const people = listPeople(flags.gallery);
      print(globalOptions(command), people, () => peopleTable(people));
    });
  gallery
    .command('remove')
    .argument('<name>', 'the label of the person')
    .requiredOption(...DIR)
    .description('forget a person, with all pictures')
    .action(async (name: string, flags: { gallery: string }, command: Command) => {
      const { removePerson } = await import('../../main/people.js');
      const person = removePerson(flags.gallery, name);
      print(globalOptions(command), person, () => `removed ${person.name} (${person.pictures} pictures)`);
    });
}

function peopleTable(people: readonly Person[]): string {
  return table({
    columns: [left('person'), right('pictures')],
    rows: people.map(({ name, pictures }) => [name, String(pictures)]),
  });
}
