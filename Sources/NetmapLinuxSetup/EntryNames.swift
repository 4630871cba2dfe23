internal import Glibc

/// The names of the entries of a folder, `.` and `..` included, in no order.
///
/// - Parameter folder: A path.
/// - Returns: The names; none when the folder cannot be read.
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
