export interface Profile {
  id: string;
  displayName: string;
  /** A BCP 47 tag. */
  locale: string;
}

/** The user's profile. Permission `user.profile`. */
export function profile(): Profile;
