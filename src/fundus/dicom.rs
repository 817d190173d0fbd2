//! A DICOM ophthalmic photograph comes in; pixels and identity go out.
