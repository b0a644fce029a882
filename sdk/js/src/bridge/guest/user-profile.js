export { call } from 'mpkg:bridge/user-profile@1.0.0';
