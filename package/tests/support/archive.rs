//! Archives in which any field can be wrong. Written apart from the library on purpose.

#[derive(Clone)]
pub struct Raw {
    pub name: Vec<u8>,
    pub data: Vec<u8>,
    pub local_name: Option<Vec<u8>>,
    pub made_by: u16,
    pub flags: u16,
    pub method: u16,
    pub date: u16,
    pub external: u32,
    pub crc: Option<u32>,
    pub full: Option<u32>,
    pub stored: Option<u32>,
    pub extra: Vec<u8>,
    pub comment: Vec<u8>,
    pub offset: Option<u32>,
}

pub fn raw(name: impl Into<Vec<u8>>, data: impl Into<Vec<u8>>) -> Raw {
    Raw {
        name: name.into(),
        data: data.into(),
        local_name: None,
        made_by: 10,
        flags: 0,
        method: 0,
        date: 0x21,
        external: 0,
        crc: None,
        full: None,
        stored: None,
        extra: vec![],
        comment: vec![],
        offset: None,
    }
}

#[derive(Clone, Default)]
pub struct Archive {
    pub entries: Vec<Raw>,
    pub before: Vec<u8>,
    pub before_directory: Vec<u8>,
    pub after_directory: Vec<u8>,
    pub disk: u16,
    pub count: Option<u16>,
    pub count_total: Option<u16>,
    pub directory_offset: Option<u32>,
    pub directory_size: Option<u32>,
    pub comment: Vec<u8>,
    pub after: Vec<u8>,
}

pub fn archive(entries: Vec<Raw>) -> Archive {
    Archive { entries, ..Archive::default() }
}

impl Archive {
    pub fn build(&self) -> Vec<u8> {
        let mut out = self.before.clone();
        let mut directory = Vec::new();
        for entry in &self.entries {
            let offset = entry.offset.unwrap_or(out.len() as u32);
            let size = entry.data.len() as u32;
            let (stored, full) = (entry.stored.unwrap_or(size), entry.full.unwrap_or(size));
            let crc = entry.crc.unwrap_or_else(|| crc32(&entry.data));
            let local_name = entry.local_name.as_ref().unwrap_or(&entry.name);
            let shared = |name: &[u8]| {
                let mut fields = Vec::new();
                for field in [10, entry.flags, entry.method, 0, entry.date] {
                    fields.extend_from_slice(&field.to_le_bytes());
                }
                for field in [crc, stored, full] {
                    fields.extend_from_slice(&field.to_le_bytes());
                }
                fields.extend_from_slice(&(name.len() as u16).to_le_bytes());
                fields.extend_from_slice(&(entry.extra.len() as u16).to_le_bytes());
                fields
            };
            out.extend_from_slice(b"PK\x03\x04");
            out.extend(shared(local_name));
            out.extend_from_slice(local_name);
            out.extend_from_slice(&entry.extra);
            out.extend_from_slice(&entry.data);

            directory.extend_from_slice(b"PK\x01\x02");
            directory.extend_from_slice(&entry.made_by.to_le_bytes());
            directory.extend(shared(&entry.name));
            directory.extend_from_slice(&(entry.comment.len() as u16).to_le_bytes());
            directory.extend_from_slice(&[0; 4]);
            directory.extend_from_slice(&entry.external.to_le_bytes());
            directory.extend_from_slice(&offset.to_le_bytes());
            directory.extend_from_slice(&entry.name);
            directory.extend_from_slice(&entry.extra);
            directory.extend_from_slice(&entry.comment);
        }
        out.extend_from_slice(&self.before_directory);
        let directory_offset = self.directory_offset.unwrap_or(out.len() as u32);
        let directory_size = self.directory_size.unwrap_or(directory.len() as u32);
        out.extend(directory);
        out.extend_from_slice(&self.after_directory);
        let count = self.count.unwrap_or(self.entries.len() as u16);
        out.extend_from_slice(b"PK\x05\x06");
        for field in [self.disk, 0, count, self.count_total.unwrap_or(count)] {
            out.extend_from_slice(&field.to_le_bytes());
        }
        out.extend_from_slice(&directory_size.to_le_bytes());
        out.extend_from_slice(&directory_offset.to_le_bytes());
        out.extend_from_slice(&(self.comment.len() as u16).to_le_bytes());
        out.extend_from_slice(&self.comment);
        out.extend_from_slice(&self.after);
        out
    }
}

/// The checksum, bit by bit.
pub fn crc32(data: &[u8]) -> u32 {
    let mut crc = !0u32;
    for byte in data {
        crc ^= u32::from(*byte);
        for _ in 0..8 {
            crc = (crc >> 1) ^ (0xEDB8_8320 & (crc & 1).wrapping_neg());
        }
    }
    !crc
}
