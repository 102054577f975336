import { expect, test } from 'vitest';
import { allowedCommand } from './allowed-command.js';

const config = {
  commands: ['python3 /opt/blur.py --fast', '/usr/bin/count'],
  environment: { PATH: '/usr/bin' },
  session_id: 7,
  socketPath: '/run/vo/3.sock',
};

test('what the operator allowed is started word for word, and told where to join', () => {
  expect(allowedCommand('python3  /opt/blur.py --fast', config, 4)).toEqual({
    program: 'python3',
    args: ['/opt/blur.py', '--fast'],
    environment: {
      PATH: '/usr/bin',
      ORCHESTRATOR_NODE: 'unix:/run/vo/3.sock',
      ORCHESTRATOR_SESSION: '7',
      ORCHESTRATOR_HANDLER: '4',
    },
  });
});

test.each(['python3', 'python3 -c print(1)', 'python3 /opt/blur.py', '/usr/bin/count; rm -r /', ' '])(
  'anything else is refused by name: %s',
  (command) => {
    expect(() => allowedCommand(command, config, 4)).toThrow(
      expect.objectContaining({ code: 'COMMAND_FORBIDDEN', message: expect.stringContaining(`command ${command}`) }),
    );
  },
);

test('by default nothing is allowed', () => {
  expect(() => allowedCommand('true', { ...config, commands: [] }, 4)).toThrow(/\(none\)/);
});
