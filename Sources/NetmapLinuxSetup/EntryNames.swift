internal import Glibc

/// The names of what lies in a folder, `.` and `..` among them, in no order.
///
/// - Parameter folder: A path.
/// - Returns: None when the folder cannot be read.
package func entryNames(in folder: String) -> [String] {
  guard let open = unsafe opendir(folder) else { return [] }
  defer { unsafe closedir(open) }
  var names: [String] = []
  while let entry = unsafe readdir(open) {
    names.append(
      unsafe withUnsafeBytes(of: &entry.pointee.d_name) { bytes in
        unsafe String(decoding: bytes.prefix { $0 != 0 }, as: UTF8.self)
      })
  }
  return names
}
