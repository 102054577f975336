export { default, type Static, type TObject, type TSchema } from 'typebox';
export { Compile, type Validator } from 'typebox/compile';
export { default as Value } from 'typebox/value';
