export { call } from 'mpkg:bridge/clipboard@1.0.0';
